package api

import (
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Budget bounds how many client connections are open at once, over all listeners (F36). When a connection comes
// that is one too many, one of those that have been idle longest is closed for it; if none is idle, the new one is
// closed at once rather than left hanging without a word.
//
// Its connections also keep time more cheaply than those of package net, see deadline.go.
//
// Serve on Budget.Listener(l), with Budget.ConnState as ConnState of the server's Limits.
type Budget struct {
	max     int
	refused func(idle bool)
	changed func(open int)
	clock   atomic.Int64 // Unix time of the last sweep, ns; at most about sweepInterval ago while any are open

	idlings atomic.Uint64 // counts the times that a connection became idle

	// mu guards the fields below, for the length of one method; no connection is closed under it.
	mu     sync.Mutex
	open   map[*budgetConn]struct{}
	sweeps uint64 // counts the beginnings of sweeping; an older row of sweeps ends itself
}

// NewBudget makes a budget for at most so many connections; 0 means that there is no bound. refused is told of each
// connection that was closed to keep within it: an idle one, or a new one; changed is told how many are open. Both may
// be nil.
func NewBudget(max int, refused func(idle bool), changed func(open int)) *Budget {
	if max <= 0 {
		max = math.MaxInt
	}
	if refused == nil {
		refused = func(bool) {}
	}
	if changed == nil {
		changed = func(int) {}
	}
	return &Budget{max: max, refused: refused, changed: changed, open: map[*budgetConn]struct{}{}}
}

// Listener gives l with its connections counted.
func (b *Budget) Listener(l net.Listener) net.Listener { return budgetListener{l, b} }

type budgetListener struct {
	net.Listener
	budget *Budget
}

// Accept returns the next connection for which there is room.
func (l budgetListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.budget.admit(conn); admitted != nil {
			return admitted, nil
		}
	}
}

// SetDeadline has Accept fail at a time, if the listener can do that.
func (l budgetListener) SetDeadline(at time.Time) error {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return d.SetDeadline(at)
}

// budgetConn is a connection that is counted until it is closed.
type budgetConn struct {
	net.Conn
	budget *Budget
	idle   atomic.Uint64 // the Budget's idlings when it became idle; 0 while it is not
	timing
	pace pace
}

// admit counts a connection; nil if there was no room and it has been closed.
func (b *Budget) admit(conn net.Conn) net.Conn {
	c := &budgetConn{Conn: conn, budget: b}
	b.mu.Lock()
	var victim *budgetConn
	full := len(b.open) >= b.max
	if full {
		if victim = b.longestIdle(); victim != nil {
			full = false
			delete(b.open, victim)
		}
	}
	if !full {
		b.open[c] = struct{}{}
		b.startSweeping()
	}
	open := len(b.open)
	b.mu.Unlock()
	if victim != nil {
		b.refused(true)
		_ = victim.Conn.Close()
	}
	if full {
		b.refused(false)
		_ = conn.Close()
		return nil
	}
	b.changed(open)
	return c
}

// sampleSize is of how many connections the longest idle one is found. They are taken at random, so that a flood of
// connections costs the same however many are open.
const sampleSize = 256

// longestIdle gives the connection that has been idle longest among some, or nil if none of those is; mu is held.
func (b *Budget) longestIdle() *budgetConn {
	var longest *budgetConn
	since := uint64(math.MaxUint64)
	looked := 0
	for c := range b.open {
		if idle := c.idle.Load(); idle != 0 && idle < since {
			longest, since = c, idle
		}
		if looked++; looked == sampleSize {
			break
		}
	}
	return longest
}

// Close closes the connection and stops counting it.
func (c *budgetConn) Close() error {
	err := c.Conn.Close()
	c.budget.mu.Lock()
	delete(c.budget.open, c)
	open := len(c.budget.open)
	c.budget.mu.Unlock()
	c.budget.changed(open)
	return err
}

// ConnState keeps the order of idle connections; it is for http.Server.
func (b *Budget) ConnState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*budgetConn)
	if !ok {
		if around, wraps := conn.(interface{ NetConn() net.Conn }); wraps { // TLS, or handed over by http1
			c, ok = around.NetConn().(*budgetConn)
		}
	}
	switch {
	case !ok:
	case state == http.StateIdle:
		c.idle.Store(b.idlings.Add(1))
	default:
		c.idle.Store(0)
	}
}
