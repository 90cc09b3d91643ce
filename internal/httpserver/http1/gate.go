package http1

import (
	"container/list"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"
)

// A gate bounds how many handshakes are computed at once, in all and for one client. Who waits for a message of the client
// has no place, so clients that send nothing keep nobody out. Those that wait for a place get one in turn: a client after
// the other, and each client's in the order in which they came.
type gate struct {
	most, perClient int

	// mu guards the fields below, for the length of one method.
	mu      sync.Mutex
	busy    int                     // places that are taken
	clients map[netip.Prefix]*share // with a place, or waiting for one
	turn    list.List               // of *share: those that wait, and may have another place
	closed  bool
}

// A share is what a client has of a gate.
type share struct {
	busy    int
	waiting list.List     // of *waiter
	turn    *list.Element // in the gate's turn; nil: it is not there
}

// A waiter waits for a place.
type waiter struct {
	woken   chan struct{} // closed when it need not wait any longer
	granted bool          // it has a place
}

// A handshake takes a fraction of a millisecond of a processor, and most places are for those that wait for a processor.
// More of them would only make the requests that are served meanwhile wait longer.
const (
	placesPerProcessor = 16
	placesMost         = 256
	sharesOfPlaces     = 4 // so many clients are needed to take all
)

func newGate() *gate {
	most := min(placesPerProcessor*runtime.GOMAXPROCS(0), placesMost)
	return &gate{most: most, perClient: most / sharesOfPlaces, clients: map[netip.Prefix]*share{}}
}

// enter takes a place, and waits for it; false: there was none in time, or the gate is closed.
func (g *gate) enter(client netip.Prefix, by time.Time) bool {
	g.mu.Lock()
	s := g.clients[client]
	if s == nil {
		s = &share{}
		g.clients[client] = s
	}
	if g.busy < g.most && s.busy < g.perClient && s.waiting.Len() == 0 {
		g.busy++
		s.busy++
		g.mu.Unlock()
		return true
	}
	if g.closed {
		g.tidy(client, s)
		g.mu.Unlock()
		return false
	}
	w := &waiter{woken: make(chan struct{})}
	at := s.waiting.PushBack(w)
	g.queue(s)
	g.mu.Unlock()
	late := time.NewTimer(time.Until(by))
	defer late.Stop()
	select {
	case <-w.woken:
	case <-late.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.waiting.Remove(at) // if it is still there
	g.tidy(client, s)
	return w.granted
}

// leave gives a place back.
func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.clients[client]
	g.busy--
	s.busy--
	g.queue(s)
	g.grant()
	g.tidy(client, s)
}

// queue gives a share its turn, if it waits for a place that it may have; mu is held.
func (g *gate) queue(s *share) {
	if s.turn == nil && s.waiting.Len() > 0 && s.busy < g.perClient {
		s.turn = g.turn.PushBack(s)
	}
}

// grant gives the places that are free to those whose turn it is; mu is held.
func (g *gate) grant() {
	for g.busy < g.most && g.turn.Len() > 0 {
		s := g.turn.Remove(g.turn.Front()).(*share)
		s.turn = nil
		if at := s.waiting.Front(); at != nil {
			w := s.waiting.Remove(at).(*waiter)
			w.granted = true
			close(w.woken)
			g.busy++
			s.busy++
		}
		g.queue(s)
	}
}

// tidy forgets a client that has nothing and waits for nothing; mu is held.
func (g *gate) tidy(client netip.Prefix, s *share) {
	if s.busy > 0 || s.waiting.Len() > 0 {
		return
	}
	if s.turn != nil {
		g.turn.Remove(s.turn)
		s.turn = nil
	}
	delete(g.clients, client)
}

// close lets nobody wait any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for client, s := range g.clients {
		for s.waiting.Len() > 0 {
			close(s.waiting.Remove(s.waiting.Front()).(*waiter).woken)
		}
		g.tidy(client, s)
	}
}

// A gatedConn is the connection below TLS. During the handshake, it has a place from when a message of the client has come
// until TLS waits for the next one.
type gatedConn struct {
	net.Conn
	gate   *gate
	client netip.Prefix

	// The goroutine of the handshake uses these; until it ends, nobody else reads.
	shaking, placed bool
	by              time.Time
}

// NetConn is the connection below, as of tls.Conn.
func (c *gatedConn) NetConn() net.Conn { return c.Conn }

func (c *gatedConn) begin(by time.Time) { c.shaking, c.by = true, by }

func (c *gatedConn) end() {
	c.leave()
	c.shaking = false
}

func (c *gatedConn) leave() {
	if c.placed {
		c.placed = false
		c.gate.leave(c.client)
	}
}

// Read reads from the connection.
func (c *gatedConn) Read(b []byte) (int, error) {
	if !c.shaking {
		return c.Conn.Read(b)
	}
	c.leave()
	n, err := c.Conn.Read(b)
	if n > 0 {
		if c.placed = c.gate.enter(c.client, c.by); !c.placed {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return n, err
}
