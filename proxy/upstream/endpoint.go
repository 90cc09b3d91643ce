package upstream

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"canopy/internal/lasting"
)

// Idle connections are closed long before a member closes them, after 5 minutes: a request on a connection that is being
// closed is lost.
const (
	idleMax     = 128 // per endpoint (P21)
	idleTimeout = time.Minute
)

// An Endpoint is a client URL of a member. Any goroutine may call its methods.
type Endpoint struct {
	URL string // read only

	address string // host:port
	secure  bool   // https
	o       *Options

	outage   atomic.Pointer[Outage] // nil: it is available
	stopping atomic.Int64           // by Options.now, until when it is only a second choice
	unproven atomic.Bool            // it is only a second choice until a probe succeeds
	answered atomic.Int64           // by Options.now, the last answer; 0: none yet
	distance distance               // of the goroutine that probes
	lasts    lasting.Condition      // of the goroutine that probes: the outage

	mu      sync.Mutex // guards what follows
	idle    []*Conn    // the one used last comes last; len(idle) <= idleMax
	closed  bool
	watches map[*Conn]struct{} // connections of watches
}

// An Outage tells why no requests go to an endpoint, and since when.
type Outage struct {
	Reason  string
	Since   time.Time
	answers bool // it has no quorum, but is used if all others fail
}

func newEndpoint(text string, o *Options) (*Endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not like http://host:port", text)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return &Endpoint{URL: text, address: net.JoinHostPort(u.Hostname(), port), secure: u.Scheme == "https", o: o}, nil
}

// Outage tells why the endpoint is unavailable; nil: it is available.
func (e *Endpoint) Outage() *Outage { return e.outage.Load() }

// IsAvailable tells whether requests go to the endpoint.
func (e *Endpoint) IsAvailable() bool { return e.outage.Load() == nil }

// MarkAnswered records that the endpoint has answered a request.
func (e *Endpoint) MarkAnswered() { e.answered.Store(e.o.now()) }

// MarkUnproven makes the endpoint a second choice until a probe succeeds.
func (e *Endpoint) MarkUnproven() { e.unproven.Store(true) }

// MarkStopping makes the endpoint a second choice for a while: its member has said that it is about to stop.
func (e *Endpoint) MarkStopping() { e.stopping.Store(e.o.now() + int64(e.o.FailureWait)) }

// isSecondChoice tells whether the member said that it is about to stop, or was restarted or added a moment ago.
func (e *Endpoint) isSecondChoice() bool {
	if e.unproven.Load() {
		return true
	}
	until := e.stopping.Load()
	return until != 0 && e.o.now() < until
}

// take gives a usable idle connection, or nil. If the member has closed one, it was restarted, since it keeps idle
// connections longer than the proxy does: until it has caught up it may lack what clients have seen.
func (e *Endpoint) take() *Conn {
	for {
		e.mu.Lock()
		n := len(e.idle)
		if n == 0 {
			e.mu.Unlock()
			return nil
		}
		c := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		if !c.isStale() {
			return c
		}
		c.Close()
		e.MarkUnproven()
	}
}

// Give takes a connection back whose answer was read to its end.
func (e *Endpoint) Give(c *Conn) {
	c.idle = time.Now()
	if c.in == nil {
		c.attach()
	}
	e.mu.Lock()
	keep := len(e.idle) < idleMax && !e.closed
	if keep {
		e.idle = append(e.idle, c)
	}
	e.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// expire closes the connections that have been idle since before a time.
func (e *Endpoint) expire(before time.Time) {
	e.mu.Lock()
	n := 0
	for n < len(e.idle) && e.idle[n].idle.Before(before) {
		n++
	}
	old := slices.Clone(e.idle[:n])
	e.idle = slices.Delete(e.idle, 0, n)
	e.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

// Distrust closes all idle connections, since one of them has failed and the others are as old. The endpoint is a second
// choice until a probe succeeds.
func (e *Endpoint) Distrust() {
	e.MarkUnproven()
	e.drop()
}

// drop closes all idle connections.
func (e *Endpoint) drop() { e.expire(time.Now().Add(time.Hour)) }

// retire drops the idle connections, and keeps no further ones.
func (e *Endpoint) retire() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.drop()
}

// Hold adds a connection to those of watches, until it is closed or unheld.
func (e *Endpoint) Hold(c *Conn) {
	c.heldBy = e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches == nil {
		e.watches = map[*Conn]struct{}{}
	}
	e.watches[c] = struct{}{}
}

// unhold undoes Hold. After that breakWatches does not touch the connection.
func (e *Endpoint) unhold(c *Conn) {
	c.heldBy = nil
	e.mu.Lock()
	delete(e.watches, c)
	e.mu.Unlock()
}

// breakWatches breaks all watches, so that another endpoint continues them, or they are cut (P32, P33).
func (e *Endpoint) breakWatches() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.watches {
		c.Interrupt()
	}
}

// Dial makes a new connection.
func (e *Endpoint) Dial(ctx context.Context) (*Conn, error) {
	c, err := e.o.dial(ctx, e.address, e.secure)
	if err != nil {
		return nil, err
	}
	return newConn(c, e.o), nil
}
