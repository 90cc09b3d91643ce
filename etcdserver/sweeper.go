package etcdserver

import (
	"context"
	"time"
)

// sweepEvery is how exact time-outs of requests are.
const sweepEvery = 100 * time.Millisecond

// sweeper fails requests that have waited too long. Only the goroutine of run calls its methods.
type sweeper struct{ *requests }

func (s sweeper) run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			waiting := s.pending.Sweep(now.Add(-s.timeout), s.timeoutError)
			if s.observer.Waiting != nil {
				s.observer.Waiting(waiting)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// timeoutError says why a request that began at start may have timed out (E25).
func (s sweeper) timeoutError(start time.Time) error {
	l := s.status.leader.Load()
	switch {
	case l.leader == 0:
		return ErrTimeout
	case start.Before(l.since) && start.After(l.since.Add(-2*s.election)):
		return ErrTimeoutLeaderFail
	}
	return ErrTimeoutConnection
}
