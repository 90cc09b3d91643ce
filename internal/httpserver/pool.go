package httpserver

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

// PoolOptions say how a Pool behaves.
type PoolOptions struct {
	Most      int           // places; at least 1
	PerClient int           // of them for one client; 0: no limit but Most
	Patience  time.Duration // for the first request to arrive; 0: no limit
	Cut       func()        // told of each connection that is closed for another; may be nil
}

// A Pool bounds the connections of clients that have not shown who they are, so that nobody keeps the others out. It has
// a fixed number of places. A new connection always gets one: when all are taken, an older one is closed for it. That is
// the oldest one of the client that has the most, so that a client that opens many pays for them itself. Clients that
// the owner knows pay last.
//
// A connection leaves its place when it is closed, or when LeavePool is called for it, because it has shown who it is.
// It gets a place again when it is idle.
//
// A Pool is used by any number of goroutines.
type Pool struct {
	o     PoolOptions
	known atomic.Pointer[func(client netip.Prefix) bool]

	// mu guards the fields below and those of the connections, for the length of one method; nothing is closed under it.
	mu    sync.Mutex
	taken list.List // of *pooledConn, oldest first
	count map[netip.Prefix]int
}

// NewPool makes an empty pool.
func NewPool(o PoolOptions) *Pool {
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
func (p *Pool) Listener(l net.Listener) net.Listener { return poolListener{l, p} }

type poolListener struct {
	net.Listener
	pool *Pool
}

// Accept returns the next connection.
func (l poolListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.pool.Take(nc), nil
}

// pooledConn is a connection that has a place in the pool, or had one.
type pooledConn struct {
	net.Conn
	pool   *Pool
	client netip.Prefix
	at     *list.Element // nil: it has no place
	closed bool
	late   *time.Timer // closes it, unless a request comes in time; may be nil
}

// Take gives a connection a place.
func (p *Pool) Take(nc net.Conn) net.Conn {
	c := &pooledConn{Conn: nc, pool: p, client: ClientOf(nc.RemoteAddr())}
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
func (p *Pool) enter(c *pooledConn) (victim *pooledConn) {
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
func (p *Pool) victim() *pooledConn {
	strange, most := false, 0
	for client, n := range p.count {
		if s := !p.prefers(client); s && !strange || s == strange && n > most {
			strange, most = s, n
		}
	}
	return p.oldest(func(client netip.Prefix) bool { return p.count[client] == most && p.prefers(client) != strange })
}

func (p *Pool) oldest(of func(netip.Prefix) bool) *pooledConn {
	for e := p.taken.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*pooledConn); of(c.client) {
			return c
		}
	}
	return nil
}

// remove takes the place of c away; mu is held.
func (p *Pool) remove(c *pooledConn) {
	if c.at == nil {
		return
	}
	p.taken.Remove(c.at)
	c.at = nil
	if p.count[c.client]--; p.count[c.client] == 0 {
		delete(p.count, c.client)
	}
}

func (p *Pool) cut(victim *pooledConn) {
	if victim != nil {
		p.o.Cut()
		_ = victim.Close() // nobody is left to be told
	}
}

// Close closes the connection and frees its place.
func (c *pooledConn) Close() error {
	c.pool.mu.Lock()
	c.closed = true
	c.pool.remove(c)
	c.inTime()
	c.pool.mu.Unlock()
	return c.Conn.Close()
}

// inTime ends the wait for the first request; mu is held.
func (c *pooledConn) inTime() {
	if c.late != nil {
		c.late.Stop()
		c.late = nil
	}
}

// ConnState follows what connections do; it is for http.Server.
func (p *Pool) ConnState(nc net.Conn, state http.ConnState) {
	c, ok := within[*pooledConn](nc)
	if !ok || state != http.StateActive && state != http.StateIdle {
		return
	}
	p.mu.Lock()
	c.inTime()
	var victim *pooledConn
	if state == http.StateIdle && !c.closed {
		p.remove(c)
		victim = p.enter(c)
	}
	p.mu.Unlock()
	p.cut(victim)
}

type pooledKey struct{}

// PoolContext has LeavePool find the connection of a request; it is for http.Server.
func PoolContext(ctx context.Context, nc net.Conn) context.Context {
	c, _ := within[*pooledConn](nc)
	return context.WithValue(ctx, pooledKey{}, c)
}

// LeavePool frees the place of the connection of a request, which nobody closes any more.
func LeavePool(request context.Context) {
	c, _ := request.Value(pooledKey{}).(*pooledConn)
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
	return ClientOfAddr(tcp.AddrPort().Addr())
}

// ClientOfAddr is ClientOf for an address without a port. Those that are not valid are one client.
func ClientOfAddr(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
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
