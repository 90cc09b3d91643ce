package main

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/disk"
	"canopy/internal/lasting"
)

// scarcePause is how long it takes until something that the system lacks is
// asked for again.
const scarcePause = 50 * time.Millisecond

// patientDisk is the file system of the machine, for a process that ends with
// ctx: what it lacks for a moment, descriptors and memory, it waits for. It gives
// up some time after the end.
func patientDisk(ctx context.Context, logger *logrus.Logger) disk.FS {
	given := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(2*drainTimeout, func() { close(given) }) })
	want := &scarcity{logger: logger}
	return disk.Patient{FS: disk.OS{}, Wait: func(err error) bool {
		want.warn(err)
		select {
		case <-time.After(scarcePause):
			return true
		case <-given:
			return false
		}
	}}
}

// scarcity warns of what is lacked, once a minute.
type scarcity struct {
	logger *logrus.Logger

	mu     sync.Mutex // guards warned
	warned time.Time
}

func (s *scarcity) warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.warned) >= lasting.Every {
		s.warned = now
		s.logger.Warnf("%v: it is tried again; is the limit of file descriptors (ulimit -n, LimitNOFILE=) high enough?", err)
	}
}
