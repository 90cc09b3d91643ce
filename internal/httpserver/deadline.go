package httpserver

import (
	"sync"
	"sync/atomic"
	"time"
)

// net/http sets five deadlines for a request that takes ten microseconds, and removes nearly all of them long before they
// pass. Each one changes the runtime's timers. A connection of a Budget only records a deadline that is far away; each
// second a sweep over all connections enforces those that have passed. A near deadline, or one in the past, with which
// net/http interrupts a read, is set on the connection at once. All times are of the monotonic clock, so a step of the
// wall clock moves no deadline.
//
// Small answers have no write deadline. The sweep also cuts a connection if one write takes too long, because the client
// does not read.

const (
	sweepInterval = time.Second
	farDeadline   = 2 * sweepInterval

	// writePatience is how long one write may take. It writes at most a piece of an answer, or an event.
	writePatience = 60 * time.Second
)

// timing are the deadlines of one connection.
type timing struct {
	// mu guards the fields below and the deadlines of the connection itself, for the length of one method.
	mu      sync.Mutex
	readBy  int64 // a far deadline, by the Budget's clock; 0 for none
	reading bool  // the connection itself has a read deadline
	writing bool  // the connection itself has a write deadline

	writes atomic.Uint64 // beginnings and ends of writes: odd while there is one
	seen   uint64        // writes at the last sweep
	since  int64         // when a sweep saw that value first, by the Budget's clock
}

// SetReadDeadline sets the time after which reads fail. A far one may come up to sweepInterval late.
func (c *budgetConn) SetReadDeadline(t time.Time) error {
	c.timing.mu.Lock()
	defer c.timing.mu.Unlock()
	c.readBy = 0
	if !t.IsZero() {
		at := c.budget.at(t)
		if at-c.budget.clock.Load() < int64(farDeadline) {
			c.reading = true
			return c.Conn.SetReadDeadline(t)
		}
		c.readBy = at
	}
	if !c.reading {
		return nil
	}
	c.reading = false
	return c.Conn.SetReadDeadline(time.Time{})
}

// SetWriteDeadline sets the time after which writes fail.
func (c *budgetConn) SetWriteDeadline(t time.Time) error {
	c.timing.mu.Lock()
	defer c.timing.mu.Unlock()
	if t.IsZero() && !c.writing {
		return nil
	}
	c.writing = !t.IsZero()
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *budgetConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Write writes to the connection. The sweep measures how long it takes.
func (c *budgetConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	defer c.writes.Add(1)
	return c.Conn.Write(b)
}

// enforce sets a far deadline on the connection once it has passed, and ends a write that takes too long.
func (c *budgetConn) enforce(now time.Time) {
	c.timing.mu.Lock()
	defer c.timing.mu.Unlock()
	at, writes := c.budget.at(now), c.writes.Load()
	switch {
	case writes%2 == 0 || writes != c.seen:
		c.seen, c.since = writes, at
	case at-c.since >= int64(writePatience):
		c.writing = true
		_ = c.Conn.SetWriteDeadline(now) // as below
	}
	if c.readBy == 0 || c.readBy > at {
		return
	}
	c.readBy = 0
	c.reading = true
	_ = c.Conn.SetReadDeadline(now) // fails on a closed connection, which needs no deadline
}

// at is a time by the clock of the budget, which starts when the budget is made. A time without a monotonic part is one
// long ago, and comes out negative.
func (b *Budget) at(t time.Time) int64 { return int64(t.Sub(b.made)) }

// startSweeping starts sweeping for the first connection; mu is held.
func (b *Budget) startSweeping() {
	if len(b.open) == 1 {
		b.clock.Store(b.at(time.Now()))
		b.sweeps++
		generation := b.sweeps
		time.AfterFunc(sweepInterval, func() { b.sweep(generation) })
	}
}

// sweep enforces the deadlines of all connections, and repeats as long as there are any.
func (b *Budget) sweep(generation uint64) {
	now := time.Now()
	b.clock.Store(b.at(now))
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) == 0 || generation != b.sweeps {
		return
	}
	for c := range b.open {
		c.enforce(now)
	}
	time.AfterFunc(sweepInterval, func() { b.sweep(generation) })
}
