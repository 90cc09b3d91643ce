package api

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// A Budget bounds how many client connections are open at once, over all listeners (F36). When a connection comes
// that is one too many, the one that has been idle longest is closed for it; if none is idle, the new one is closed at
// once rather than left hanging without a word.
//
// Serve on Budget.Listener(l), with Budget.ConnState as ConnState of the server's Limits.
type Budget struct {
	max     int
	refused func(idle bool)
	changed func(open int)

	// mu guards the fields below, for the length of one method; no connection is closed under it.
	mu   sync.Mutex
	open int
	idle *list.List // of *budgetConn, the longest idle first
}

// NewBudget makes a budget for at most so many connections, at least 1. refused is told of each connection that was
// closed to keep within it: an idle one, or a new one; changed is told how many are open. Both may be nil.
func NewBudget(max int, refused func(idle bool), changed func(open int)) *Budget {
	if refused == nil {
		refused = func(bool) {}
	}
	if changed == nil {
		changed = func(int) {}
	}
	return &Budget{max: max, refused: refused, changed: changed, idle: list.New()}
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

// budgetConn is a connection that is counted until it is closed.
type budgetConn struct {
	net.Conn
	budget *Budget
	place  *list.Element // in idle, or nil; guarded by the budget's mu
	closed bool          // the same
}

// admit counts a connection; nil if there was no room and it has been closed.
func (b *Budget) admit(conn net.Conn) net.Conn {
	c := &budgetConn{Conn: conn, budget: b}
	b.mu.Lock()
	var victim *budgetConn
	full := b.open >= b.max
	if oldest := b.idle.Front(); full && oldest != nil {
		victim, full = oldest.Value.(*budgetConn), false
		b.forget(victim)
	}
	if !full {
		b.open++
	}
	open := b.open
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

// forget stops counting a connection; mu is held.
func (b *Budget) forget(c *budgetConn) {
	if c.closed {
		return
	}
	c.closed = true
	b.open--
	b.leaveIdle(c)
}

func (b *Budget) leaveIdle(c *budgetConn) {
	if c.place != nil {
		b.idle.Remove(c.place)
		c.place = nil
	}
}

// Close closes the connection and stops counting it.
func (c *budgetConn) Close() error {
	err := c.Conn.Close()
	c.budget.mu.Lock()
	c.budget.forget(c)
	open := c.budget.open
	c.budget.mu.Unlock()
	c.budget.changed(open)
	return err
}

// ConnState keeps the order of idle connections; it is for http.Server.
func (b *Budget) ConnState(conn net.Conn, state http.ConnState) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // what is below TLS
	}
	c, ok := conn.(*budgetConn)
	if !ok || state != http.StateIdle && state != http.StateActive {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveIdle(c)
	if state == http.StateIdle && !c.closed {
		c.place = b.idle.PushBack(c)
	}
}
