package api

import (
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"canopy/internal/places"
)

// A Budget bounds how many client connections are open at once, over all listeners (F36), and how many of them are of
// one client (LimitClients). When a connection comes that is one too many, one of those that have been idle longest is
// closed for it; if none is idle, the new one is given to Overflow, or closed at once rather than left hanging without a
// word.
//
// Its connections also keep time more cheaply than those of package net, see deadline.go.
//
// Serve on Budget.Listener(l), with Budget.ConnState as ConnState of the server's Limits.
type Budget struct {
	max     int
	refused func(idle bool)
	changed func(open int)
	rest    func(net.Conn) // takes what is beyond the budget; nil: it is closed
	clock   atomic.Int64   // Unix time of the last sweep, ns; at most about sweepInterval ago while any are open

	idlings atomic.Uint64 // counts the times that a connection became idle

	// mu guards the fields below, for the length of one method; no connection is closed under it.
	mu     sync.Mutex
	open   map[*budgetConn]struct{}
	shares shares // of open
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

// Overflow has connections beyond the budget given to another server, instead of being closed. It is called before any
// Listener is used.
func (b *Budget) Overflow(to func(net.Conn)) { b.rest = to }

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
	client netip.Prefix
	idle   atomic.Uint64 // the Budget's idlings when it became idle; 0 while it is not
	timing
	pace pace
}

// admit counts a connection; nil if there was no room and others have it, or it has been closed.
func (b *Budget) admit(conn net.Conn) net.Conn {
	c := &budgetConn{Conn: conn, budget: b, client: places.ClientOf(conn.RemoteAddr())}
	b.mu.Lock()
	var victim *budgetConn
	among := b.crowd(c.client)
	full := among != nil
	if full {
		if victim = longestIdle(among); victim != nil {
			full = false
			b.leave(victim)
		}
	}
	if !full {
		b.open[c] = struct{}{}
		b.shares.add(c)
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
		if b.rest != nil {
			b.rest(conn)
		} else {
			_ = conn.Close()
		}
		return nil
	}
	b.changed(open)
	return c
}

// sampleSize is of how many connections the longest idle one is found. They are taken at random, so that a flood of
// connections costs the same however many are open.
const sampleSize = 256

// longestIdle gives the connection that has been idle longest among some of these, or nil if none of those is; mu is held.
func longestIdle(among map[*budgetConn]struct{}) *budgetConn {
	var longest *budgetConn
	since := uint64(math.MaxUint64)
	looked := 0
	for c := range among {
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
	c.budget.leave(c)
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
