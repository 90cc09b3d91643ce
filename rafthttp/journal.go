package rafthttp

import (
	"maps"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/lasting"
	"canopy/raft"
)

// subjectsMax bounds the subjects of the journal, and so its lines a minute; more of them mean that somebody abuses the port.
const subjectsMax = 256

// unknownGrace is how long a peer may be unknown before there is a warning: the list of members reaches some members later than
// others.
const unknownGrace = 5 * time.Second

// journal logs for operators, and the same subject at most once a minute.
type journal struct {
	log *logrus.Entry

	// mu guards subjects, for a few lines.
	mu       sync.Mutex
	subjects map[subject]*occurrence
}

// subject identifies the lines about one thing.
type subject struct {
	peer raft.MemberID
	what string // from a small set
}

// occurrence is a subject that occurred within the last minute.
type occurrence struct {
	lasting.Condition
	last time.Time
}

// warn logs a line, unless one on that subject was logged within the minute.
func (j *journal) warn(about subject, format string, args ...any) {
	j.warnAfter(0, about, format, args...)
}

// warnAfter is warn for a condition that is normal if it ends within the grace.
func (j *journal) warnAfter(grace time.Duration, about subject, format string, args ...any) {
	if j.observe(about, grace, time.Now()) {
		j.log.Warnf(format, args...)
	} else {
		j.log.Debugf(format, args...)
	}
}

// observe records a subject, and tells whether to log it.
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

// makeRoom removes subjects older than a minute if there is no room; false: there is still none. j.mu is held.
func (j *journal) makeRoom(now time.Time) bool {
	if j.subjects == nil {
		j.subjects = map[subject]*occurrence{}
	}
	if len(j.subjects) >= subjectsMax {
		maps.DeleteFunc(j.subjects, func(_ subject, at *occurrence) bool { return now.Sub(at.last) > lasting.Every })
	}
	return len(j.subjects) < subjectsMax
}
