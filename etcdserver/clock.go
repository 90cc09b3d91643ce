package etcdserver

import (
	"sync/atomic"
	"time"

	"canopy/store"
)

// logClock tells the time that a leader stamps on what it appends. It follows
// the monotonic clock, so that steps of the wall clock move no deadline (R30),
// and it is never behind a time that is already in the log. A member that does
// not lead may be far ahead of the log with it: what clients are shown is the
// log's own time.
type logClock struct {
	start  time.Time    // when the process began, with its monotonic reading
	offset atomic.Int64 // time to be stamped at start, ns; only ever raised
	log    atomic.Int64 // the log's own time at start, by what was applied last, ns
}

// newLogClock starts a clock at what the wall clock says.
func newLogClock(wall time.Time) *logClock {
	c := &logClock{start: time.Now()}
	c.offset.Store(wall.UnixNano())
	return c
}

// now is the time to be stamped. Any goroutine may ask.
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

// applied takes notice of the log's time, as of what is applied now.
func (c *logClock) applied(t store.Time) {
	c.observe(t)
	c.log.Store(int64(t) - int64(time.Since(c.start)))
}

// logTime is the log's own time: the last one applied, and what has passed since.
func (c *logClock) logTime() store.Time {
	return store.Time(c.log.Load() + int64(time.Since(c.start)))
}

// until is the wait from now to t, at least 0.
func (c *logClock) until(t store.Time) time.Duration {
	return max(0, time.Duration(t-c.now()))
}
