package rafthttp

import (
	"maps"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/lasting"
	"canopy/raft"
)

// subjectsMax bounds what the journal remembers, and so its lines a minute; beyond that, somebody plays with the port.
const subjectsMax = 256

// unknownGrace is how long a peer may be unknown before that is worth a warning: lists of members reach some of them
// later than others.
const unknownGrace = 5 * time.Second

// journal writes what operators want to know, and the same thing only once a minute.
type journal struct {
	log *logrus.Entry

	// mu guards subjects, for a few lines.
	mu       sync.Mutex
	subjects map[subject]*occurrence
}

// subject is what a line is about.
type subject struct {
	peer raft.MemberID
	what string // one of few
}

// occurrence is a subject that came up within the last minute.
type occurrence struct {
	lasting.Condition
	last time.Time
}

// warn writes a line, unless one on that subject was written within the minute.
func (j *journal) warn(about subject, format string, args ...any) {
	j.warnAfter(0, about, format, args...)
}

// warnAfter is warn for what is ordinary if it ends within the grace.
func (j *journal) warnAfter(grace time.Duration, about subject, format string, args ...any) {
	if j.observe(about, grace, time.Now()) {
		j.log.Warnf(format, args...)
	} else {
		j.log.Debugf(format, args...)
	}
}

// observe takes notice of a subject, and tells whether it is to be written.
func (j *journal) observe(about subject, grace time.Duration, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.subjects[about]
	if at == nil || now.Sub(at.last) > lasting.Every {
		if at == nil && !j.makeRoom(now) {
			return false
		}
		at = &occurrence{Condition: lasting.Condition{Grace: grace}}
		j.subjects[about] = at
	}
	at.last = now
	moment, _ := at.Observe(true, now)
	return moment != lasting.Quiet
}

// makeRoom forgets what did not come up within a minute, if there is no room; false if there is none then. j.mu is held.
func (j *journal) makeRoom(now time.Time) bool {
	if j.subjects == nil {
		j.subjects = map[subject]*occurrence{}
	}
	if len(j.subjects) >= subjectsMax {
		maps.DeleteFunc(j.subjects, func(_ subject, at *occurrence) bool { return now.Sub(at.last) > lasting.Every })
	}
	return len(j.subjects) < subjectsMax
}
