package rafthttp

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/raft"
)

const (
	sayEvery = time.Minute
	sayMax   = 256 // lines a minute; beyond that, somebody plays with the port
)

// journal writes what operators want to know, and the same thing only once a minute.
type journal struct {
	log *logrus.Entry

	// mu guards the rest, for a few lines.
	mu    sync.Mutex
	since time.Time
	said  map[subject]bool // since then
}

// subject is what a line is about.
type subject struct {
	peer raft.MemberID
	what string // one of few
}

// warn writes a line, unless one on that subject was written within the minute.
func (j *journal) warn(about subject, format string, args ...any) {
	if j.first(about) {
		j.log.Warnf(format, args...)
	} else {
		j.log.Debugf(format, args...)
	}
}

func (j *journal) first(about subject) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := time.Now(); now.Sub(j.since) > sayEvery {
		j.since, j.said = now, map[subject]bool{}
	}
	if j.said[about] || len(j.said) >= sayMax {
		return false
	}
	j.said[about] = true
	return true
}
