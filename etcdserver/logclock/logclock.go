// Package logclock is the clock of the log: a leader stamps its time on entries.
package logclock

import (
	"sync/atomic"
	"time"

	"canopy/store"
)

// Clock gives the time that a leader stamps on its entries. It follows the monotonic
// clock, so that steps of the wall clock move no deadline (R30), and it is never behind a
// time that is already in the log. On a member that does not lead it may be far ahead of
// the log, so clients are shown the log's own time. Any goroutine may call its methods.
type Clock struct {
	start  time.Time    // when the process began, with its monotonic reading
	offset atomic.Int64 // time to be stamped at start, ns; only ever raised
	log    atomic.Int64 // the log's own time at start, by what was applied last, ns
}

// New starts a clock at what the wall clock says.
func New(wall time.Time) *Clock {
	c := &Clock{start: time.Now()}
	c.offset.Store(wall.UnixNano())
	return c
}

// Now is the time to be stamped.
func (c *Clock) Now() store.Time {
	return store.Time(c.offset.Load() + int64(time.Since(c.start)))
}

// Observe moves the clock on to a time that was found in the log, if it is behind it.
func (c *Clock) Observe(t store.Time) {
	for {
		offset := c.offset.Load()
		ahead := int64(t) - (offset + int64(time.Since(c.start)))
		if ahead <= 0 || c.offset.CompareAndSwap(offset, offset+ahead) {
			return
		}
	}
}

// Applied is told the log's time when an entry is applied.
func (c *Clock) Applied(t store.Time) {
	c.Observe(t)
	c.log.Store(int64(t) - int64(time.Since(c.start)))
}

// LogTime is the log's own time: the last one applied, and what has passed since.
func (c *Clock) LogTime() store.Time {
	return store.Time(c.log.Load() + int64(time.Since(c.start)))
}

// Until is the wait from now to t, at least 0.
func (c *Clock) Until(t store.Time) time.Duration {
	return max(0, time.Duration(t-c.Now()))
}
