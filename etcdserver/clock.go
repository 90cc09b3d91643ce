package etcdserver

import (
	"sync/atomic"
	"time"

	"canopy/store"
)

// logClock tells the time that a leader stamps on what it appends. It follows
// the monotonic clock, so that steps of the wall clock move no deadline (R30),
// and it is never behind a time that is already in the log.
type logClock struct {
	start  time.Time    // when the process began, with its monotonic reading
	offset atomic.Int64 // log time at start, ns; only ever raised
}

// newLogClock starts a clock at what the wall clock says.
func newLogClock(wall time.Time) *logClock {
	c := &logClock{start: time.Now()}
	c.offset.Store(wall.UnixNano())
	return c
}

// now is the present log time. Any goroutine may ask.
func (c *logClock) now() store.Time {
	return store.Time(c.offset.Load() + int64(time.Since(c.start)))
}

// observe takes notice of a time found in the log.
func (c *logClock) observe(t store.Time) {
	for {
		offset := c.offset.Load()
		ahead := int64(t) - (offset + int64(time.Since(c.start)))
		if ahead <= 0 || c.offset.CompareAndSwap(offset, offset+ahead) {
			return
		}
	}
}

// until is the wait from now to t, at least 0.
func (c *logClock) until(t store.Time) time.Duration {
	return max(0, time.Duration(t-c.now()))
}
