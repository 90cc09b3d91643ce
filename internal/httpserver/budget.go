package httpserver

import (
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"canopy/internal/memory"
)

// A Budget bounds how many client connections are open at once, over all listeners (F36), and how many of them belong to
// one client (LimitClients). If a new connection exceeds a bound, the Budget closes one that has been idle for long. If
// none is idle, the new one goes to Overflow, or is closed at once.
//
// Its connections keep deadlines at less cost than those of package net, see deadline.go.
//
// Serve on Budget.Listener(l), with Budget.ConnState as Options.ConnState.
type Budget struct {
	max     int
	refused func(idle bool)
	changed func(open int)
	memory  *memory.Budget
	base    int64          // bytes of it that each connection takes
	rest    func(net.Conn) // takes connections beyond the budget; nil: they are closed
	made    time.Time
	clock   atomic.Int64 // time of the last sweep, since made; at most about sweepInterval ago while any are open

	idleCount atomic.Uint64 // how many times a connection became idle

	// mu guards the fields below, for the length of one method; no connection is closed under it.
	mu     sync.Mutex
	open   map[*budgetConn]struct{}
	shares shares // of open
	sweeps uint64 // counts how often sweeping started; a sweep of an older count stops
}

// NewBudget makes a budget for at most max connections; 0: no bound. refused is called for each connection that is closed
// to keep within it, an idle one or a new one. changed gets the number of open connections. Both may be nil.
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
	return &Budget{made: time.Now(), max: max, refused: refused, changed: changed, memory: memory.New(math.MaxInt64, nil), open: map[*budgetConn]struct{}{}}
}

// Bound makes connections and the headers that they send count against a budget of memory. Each connection takes base
// bytes of it. Call it before use.
func (b *Budget) Bound(m *memory.Budget, base int64) { b.memory, b.base = m, base }

// ConnectionBytes is the memory of a client connection, with everything that is not counted separately: its buffers and
// stacks, a small request, its answer, and a watch.
const ConnectionBytes = 32 << 10

// Overflow gives connections beyond the budget to another server, instead of closing them. Call it before any Listener is
// used.
func (b *Budget) Overflow(to func(net.Conn)) { b.rest = to }

// Listener gives l with counted connections.
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

// SetDeadline makes Accept fail at a time, if the listener can do that.
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
	idle   atomic.Uint64 // the Budget's idleCount when it became idle, or fresh; 0 while a request is being answered
	timing
	encrypted bool // http1 gives received what the client sends
	pace      pace
	intake
}

// admit counts a connection; nil if there was no room, and it was closed or given to Overflow.
func (b *Budget) admit(conn net.Conn) net.Conn {
	c := &budgetConn{Conn: conn, budget: b, client: ClientOf(conn.RemoteAddr())}
	c.idle.Store(fresh)
	b.mu.Lock()
	var victim *budgetConn
	among := b.crowd(c.client)
	if among == nil {
		among = b.takeMemory(c.client)
	}
	full := among != nil
	if full {
		if victim = longestIdle(among); victim != nil {
			full = false
			b.leave(victim)
			b.memory.TakeAnyway(b.base) // the victim gives as much back
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

// manyConnections is how many a client may have before it must leave memory to others.
const manyConnections = 16

// takeMemory takes the memory of a connection. If there is none left, it gives the connections of which one must be closed
// for it: any for a client that has few, its own for one that has many. mu is held.
func (b *Budget) takeMemory(client netip.Prefix) (among map[*budgetConn]struct{}) {
	own := b.shares.of[client]
	switch {
	case len(own) > manyConnections:
		if !b.memory.TakeHalfReserved(b.base) {
			return own
		}
	case !b.memory.TakeReserved(b.base):
		return b.open
	}
	return nil
}

// sampleSize is how many connections, taken at random, are compared to find the one that has been idle longest. So the
// cost of a new connection does not depend on how many are open.
const sampleSize = 256

// longestIdle compares some connections, and gives the one that has been idle longest; nil: none is idle. mu is held.
func longestIdle(among map[*budgetConn]struct{}) *budgetConn {
	var longest *budgetConn
	since := uint64(math.MaxUint64)
	compared := 0
	for c := range among {
		if idle := c.idle.Load(); idle != 0 && idle < since {
			longest, since = c, idle
		}
		if compared++; compared == sampleSize {
			break
		}
	}
	return longest
}

// fresh is idle of a connection that has not sent a request yet. It is never closed for another.
const fresh = math.MaxUint64

// Close closes the connection and stops counting it.
func (c *budgetConn) Close() error {
	err := c.Conn.Close()
	if c.closed.Swap(true) {
		return err
	}
	c.giveBack()
	c.budget.memory.Give(c.budget.base + c.streams.Swap(0))
	c.budget.mu.Lock()
	c.budget.leave(c)
	open := len(c.budget.open)
	c.budget.mu.Unlock()
	c.budget.changed(open)
	return err
}

// within finds a connection in the one that a server knows, which may be wrapped several times: by TLS, by http1.
func within[T net.Conn](nc net.Conn) (T, bool) {
	for {
		if c, ok := nc.(T); ok {
			return c, true
		}
		around, wraps := nc.(interface{ NetConn() net.Conn })
		if !wraps {
			var none T
			return none, false
		}
		nc = around.NetConn()
	}
}

// ConnState keeps the order of idle connections; it is the hook of http.Server.
func (b *Budget) ConnState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*budgetConn)
	if !ok {
		c, ok = within[*budgetConn](conn) // TLS, or handed over by http1
	}
	switch {
	case !ok:
	case state == http.StateIdle:
		c.idle.Store(b.idleCount.Add(1))
		c.giveBack()
	case state == http.StateNew: // also when http1 has handed it over
		c.idle.Store(fresh)
	case state == http.StateActive:
		c.idle.Store(0)
	default:
		c.idle.Store(0)
		c.giveBack()
	}
}
