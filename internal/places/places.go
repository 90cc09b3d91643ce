// Package places bounds the connections of strangers, in a way that lets
// nobody keep the others out.
//
// A Pool has a fixed number of places. A connection that comes always gets one:
// when all are taken, an older one is closed for it. That is the oldest one of
// the client that has the most, so that a client that opens many pays for them
// itself. Clients that the owner knows pay last.
//
// A connection leaves its place when it is closed, or when Leave is called for
// it, because it has shown who it is. It gets a place again when it is idle.
package places

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Pool.
type Options struct {
	Most      int           // places; at least 1
	PerClient int           // of them for one client; 0: no limit but Most
	Patience  time.Duration // for the first request to arrive; 0: no limit
	Cut       func()        // told of each connection that is closed for another; may be nil
}

// A Pool is used by any number of goroutines.
type Pool struct {
	o     Options
	known atomic.Pointer[func(client netip.Prefix) bool]

	// mu guards the fields below and those of the connections, for the length of one method; nothing is closed under it.
	mu    sync.Mutex
	taken list.List // of *conn, oldest first
	count map[netip.Prefix]int
}

// NewPool makes an empty pool.
func NewPool(o Options) *Pool {
	o.Most = max(o.Most, 1)
	if o.PerClient <= 0 {
		o.PerClient = o.Most
	}
	if o.Cut == nil {
		o.Cut = func() {}
	}
	return &Pool{o: o, count: map[netip.Prefix]int{}}
}

// Prefer says whose connections are closed only when there are no others.
func (p *Pool) Prefer(known func(client netip.Prefix) bool) { p.known.Store(&known) }

// prefers tells whether a client is one of those.
func (p *Pool) prefers(client netip.Prefix) bool {
	known := p.known.Load()
	return known != nil && (*known)(client)
}

// Listener gives l with a place for each of its connections.
func (p *Pool) Listener(l net.Listener) net.Listener { return listener{l, p} }

type listener struct {
	net.Listener
	pool *Pool
}

// Accept returns the next connection.
func (l listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.pool.Take(nc), nil
}

// conn is a connection that has a place in the pool, or had one.
type conn struct {
	net.Conn
	pool   *Pool
	client netip.Prefix
	at     *list.Element // nil: it has no place
	closed bool
	late   *time.Timer // closes it, unless a request comes in time; may be nil
}

// Take gives a connection a place.
func (p *Pool) Take(nc net.Conn) net.Conn {
	c := &conn{Conn: nc, pool: p, client: ClientOf(nc.RemoteAddr())}
	p.mu.Lock()
	victim := p.enter(c)
	if p.o.Patience > 0 {
		c.late = time.AfterFunc(p.o.Patience, func() { _ = c.Close() })
	}
	p.mu.Unlock()
	p.cut(victim)
	return c
}

// enter gives c the newest place, and takes away that of another one if need be; mu is held.
func (p *Pool) enter(c *conn) (victim *conn) {
	switch {
	case p.count[c.client] >= p.o.PerClient:
		victim = p.oldest(func(client netip.Prefix) bool { return client == c.client })
	case p.taken.Len() >= p.o.Most:
		victim = p.victim()
	}
	if victim != nil {
		p.remove(victim)
	}
	c.at = p.taken.PushBack(c)
	p.count[c.client]++
	return victim
}

// victim is the oldest connection among the clients that have the most, preferred ones left out if there are others; mu is
// held, and a place is taken.
func (p *Pool) victim() *conn {
	strange, most := false, 0
	for client, n := range p.count {
		if s := !p.prefers(client); s && !strange || s == strange && n > most {
			strange, most = s, n
		}
	}
	return p.oldest(func(client netip.Prefix) bool { return p.count[client] == most && p.prefers(client) != strange })
}

func (p *Pool) oldest(of func(netip.Prefix) bool) *conn {
	for e := p.taken.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); of(c.client) {
			return c
		}
	}
	return nil
}

// remove takes the place of c away; mu is held.
func (p *Pool) remove(c *conn) {
	if c.at == nil {
		return
	}
	p.taken.Remove(c.at)
	c.at = nil
	if p.count[c.client]--; p.count[c.client] == 0 {
		delete(p.count, c.client)
	}
}

func (p *Pool) cut(victim *conn) {
	if victim != nil {
		p.o.Cut()
		_ = victim.Close() // nobody is left to be told
	}
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	c.pool.mu.Lock()
	c.closed = true
	c.pool.remove(c)
	c.inTime()
	c.pool.mu.Unlock()
	return c.Conn.Close()
}

// inTime ends the wait for the first request; mu is held.
func (c *conn) inTime() {
	if c.late != nil {
		c.late.Stop()
		c.late = nil
	}
}

// of gives what a server calls its connection as one of a pool, or nil.
func of(nc net.Conn) *conn {
	for {
		if c, ok := nc.(*conn); ok {
			return c
		}
		around, wraps := nc.(interface{ NetConn() net.Conn })
		if !wraps {
			return nil
		}
		nc = around.NetConn()
	}
}

// ConnState follows what connections do; it is for http.Server.
func (p *Pool) ConnState(nc net.Conn, state http.ConnState) {
	c := of(nc)
	if c == nil || state != http.StateActive && state != http.StateIdle {
		return
	}
	p.mu.Lock()
	c.inTime()
	var victim *conn
	if state == http.StateIdle && !c.closed {
		p.remove(c)
		victim = p.enter(c)
	}
	p.mu.Unlock()
	p.cut(victim)
}

type contextKey struct{}

// ConnContext has Leave find the connection of a request; it is for http.Server.
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, contextKey{}, of(nc))
}

// Leave frees the place of the connection of a request, which nobody closes any more.
func Leave(request context.Context) {
	c, _ := request.Value(contextKey{}).(*conn)
	if c == nil {
		return
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.pool.remove(c)
	c.inTime()
}

// ClientOf tells clients apart: by their address, and, as a host commonly has
// a whole network of IPv6, by the network.
func ClientOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	const network = 64
	bits := a.BitLen()
	if a.Is6() {
		bits = network
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
