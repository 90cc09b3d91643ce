package process

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/disk"
	"canopy/internal/lasting"
)

const (
	diskRetry = 50 * time.Millisecond // between attempts of a call that lacks a descriptor or memory
	diskGrace = 4 * time.Second       // of attempts after ctx has ended
)

// Disk is the file system of the machine. Calls that lack file descriptors or
// memory are repeated until they succeed, or until some time after ctx ends.
func (p *Process) Disk(ctx context.Context) disk.FS {
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(diskGrace, func() { close(ended) }) })
	s := &shortage{logger: p.Log}
	return disk.Patient{FS: disk.OS{}, Wait: func(err error) bool {
		s.warn(err)
		select {
		case <-time.After(diskRetry):
			return true
		case <-ended:
			return false
		}
	}}
}

// shortage warns of missing resources, at most once a minute.
type shortage struct {
	logger *logrus.Logger

	mu     sync.Mutex // guards warned
	warned time.Time
}

func (s *shortage) warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.warned) >= lasting.Every {
		s.warned = now
		s.logger.Warnf("%v: retrying; raise the limit of file descriptors (ulimit -n, LimitNOFILE=) if this repeats", err)
	}
}
