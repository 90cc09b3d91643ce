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
	Most      int           // slots; at least 1
	PerClient int           // of them for one client; 0: no limit but Most
	Timeout   time.Duration // for the first request to arrive; 0: no limit
	Cut       func()        // called for each connection that is closed for another; may be nil
}

// A Pool bounds the connections of clients that have not identified themselves, so that nobody can keep the others out. It
// has a fixed number of slots, and a new connection always gets one: if all are taken, the Pool closes the oldest
// connection of the client that has most. So a client that opens many connections loses its own. The Pool closes
// connections of clients that the owner knows only if there are no others.
//
// A connection leaves its slot when it is closed, or when LeavePool is called because it has identified itself. It takes a
// slot again when it is idle.
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

// Prefer tells whose connections are closed only if there are no others.
func (p *Pool) Prefer(known func(client netip.Prefix) bool) { p.known.Store(&known) }

// prefers tells whether a client is one of those.
func (p *Pool) prefers(client netip.Prefix) bool {
	known := p.known.Load()
	return known != nil && (*known)(client)
}

// Listener gives l with a slot for each of its connections.
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

// pooledConn is a connection that has a slot in the pool, or had one.
type pooledConn struct {
	net.Conn
	pool   *Pool
	client netip.Prefix
	at     *list.Element // nil: it has no slot
	closed bool
	late   *time.Timer // closes it, unless a request arrives in time; may be nil
}

// Take gives a connection a slot.
func (p *Pool) Take(nc net.Conn) net.Conn {
	c := &pooledConn{Conn: nc, pool: p, client: ClientOf(nc.RemoteAddr())}
	p.mu.Lock()
	victim := p.enter(c)
	if p.o.Timeout > 0 {
		c.late = time.AfterFunc(p.o.Timeout, func() { _ = c.Close() })
	}
	p.mu.Unlock()
	p.cut(victim)
	return c
}

// enter gives c the newest slot, and takes that of another connection if necessary; mu is held.
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

// victim is the oldest connection of the clients that have most, without preferred ones if there are others; mu is held,
// and a slot is taken.
func (p *Pool) victim() *pooledConn {
	unknown, most := false, 0
	for client, n := range p.count {
		if u := !p.prefers(client); u && !unknown || u == unknown && n > most {
			unknown, most = u, n
		}
	}
	return p.oldest(func(client netip.Prefix) bool { return p.count[client] == most && p.prefers(client) != unknown })
}

func (p *Pool) oldest(of func(netip.Prefix) bool) *pooledConn {
	for e := p.taken.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*pooledConn); of(c.client) {
			return c
		}
	}
	return nil
}

// remove takes the slot of c; mu is held.
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
		_ = victim.Close() // nothing can be done about an error
	}
}

// Close closes the connection and frees its slot.
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

// ConnState ends the time-out of a connection with a request, and gives an idle one a slot; it is the hook of http.Server.
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

// PoolContext lets LeavePool find the connection of a request; it is the ConnContext of http.Server.
func PoolContext(ctx context.Context, nc net.Conn) context.Context {
	c, _ := within[*pooledConn](nc)
	return context.WithValue(ctx, pooledKey{}, c)
}

// LeavePool frees the slot of a request's connection, so that the Pool does not close it.
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

// ClientOf tells clients apart: by their IPv4 address, or by their network of IPv6, since a host commonly has a whole one.
func ClientOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return ClientOfAddr(tcp.AddrPort().Addr())
}

// ClientOfAddr is ClientOf of an address without a port. All invalid addresses are one client.
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
