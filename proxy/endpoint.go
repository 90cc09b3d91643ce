package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
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

// An endpoint is a client URL of a member.
type endpoint struct {
	url     string
	address string // host:port
	secure  bool   // https
	host    string // for TLS
	o       *Options

	resting  atomic.Pointer[rest]
	leaving  atomic.Int64      // by Options.now, until when it is only a second choice
	unproven atomic.Bool       // it is only a second choice until a probe succeeds
	answered atomic.Int64      // by Options.now, the last answer; 0: none yet
	distance distance          // of the goroutine that probes
	away     lasting.Condition // of the goroutine that probes: it is unavailable

	mu      sync.Mutex // guards what follows
	idle    []*conn    // the one used last comes last
	closed  bool
	watches map[*conn]struct{} // connections of watches
}

// rest tells why no requests go to an endpoint, and since when.
type rest struct {
	reason  string
	since   time.Time
	answers bool // it has no quorum, but is used if all others fail
}

func newEndpoint(text string, o *Options) (*endpoint, error) {
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
	return &endpoint{url: text, address: net.JoinHostPort(u.Hostname(), port), secure: u.Scheme == "https", host: u.Hostname(), o: o}, nil
}

// take gives a usable idle connection, or nil. If the member has closed one, it was restarted, since it keeps idle
// connections longer than the proxy does: until it has caught up it may lack what clients have seen.
func (e *endpoint) take() *conn {
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
		e.unproven.Store(true)
	}
}

// give takes a connection back whose answer was read to its end.
func (e *endpoint) give(c *conn) {
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
func (e *endpoint) expire(before time.Time) {
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

// drop closes all idle connections.
func (e *endpoint) drop() { e.expire(time.Now().Add(time.Hour)) }

// retire drops the idle connections, and keeps no further ones.
func (e *endpoint) retire() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.drop()
}

// hold adds a connection to those of watches, until it is closed or unheld.
func (e *endpoint) hold(c *conn) {
	c.heldBy = e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches == nil {
		e.watches = map[*conn]struct{}{}
	}
	e.watches[c] = struct{}{}
}

// unhold undoes hold. After that letGo does not touch the connection.
func (e *endpoint) unhold(c *conn) {
	c.heldBy = nil
	e.mu.Lock()
	delete(e.watches, c)
	e.mu.Unlock()
}

// letGo breaks all watches, so that another endpoint continues them, or they are cut (P32, P33).
func (e *endpoint) letGo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.watches {
		c.interrupt()
	}
}

// dial makes a new connection.
func (e *endpoint) dial(ctx context.Context) (*conn, error) {
	limit := max(e.o.DialTimeout, 0)
	c, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	if !e.secure {
		return newConn(c, e.o), nil
	}
	config := &tls.Config{}
	if e.o.TLS != nil {
		config = e.o.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = e.host
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return newConn(secured, e.o), nil
}

// isSecondChoice tells whether the member said that it is about to stop, or was restarted or added a moment ago.
func (e *endpoint) isSecondChoice() bool {
	if e.unproven.Load() {
		return true
	}
	until := e.leaving.Load()
	return until != 0 && e.o.now() < until
}

// now is the time since the proxy began, in ns. A step of the wall clock does not move it.
func (o *Options) now() int64 { return int64(time.Since(o.began)) }

// An endpointList is all endpoints, preferred ones first. Its slice is replaced, not changed.
type endpointList struct {
	mu      sync.Mutex // guards replacing
	current atomic.Pointer[[]*endpoint]
}

func (l *endpointList) all() []*endpoint {
	if list := l.current.Load(); list != nil {
		return *list
	}
	return nil
}

// next gives the first available endpoint that was not tried. Without one it gives a second choice: of those that said that
// they were about to stop, the one that said so longest ago, since it may be back; or an unavailable one that answers; nil:
// there is none.
func (l *endpointList) next(tried []*endpoint) *endpoint {
	var second, last *endpoint
	for _, e := range l.all() {
		rest := e.resting.Load()
		switch {
		case slices.Contains(tried, e) || rest != nil && !rest.answers:
		case rest != nil:
			last = cmp.Or(last, e)
		case !e.isSecondChoice():
			return e
		case second == nil || e.leaving.Load() < second.leaving.Load():
			second = e
		}
	}
	return cmp.Or(second, last)
}

// isAnyWell tells whether any endpoint is available.
func (l *endpointList) isAnyWell() bool {
	return slices.ContainsFunc(l.all(), func(e *endpoint) bool { return e.resting.Load() == nil })
}

// replace makes the list one of these URLs. Endpoints that remain keep their state and order, so that clients stay with
// their member (P13, P15). New ones are inserted at random positions, so that the clients of many proxies spread. Unless all
// are new, they are only a second choice until a probe has succeeded and has measured their distance.
func (l *endpointList) replace(urls []string, o *Options) (bad error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept, gone []*endpoint
	known := map[string]bool{}
	for _, e := range l.all() {
		if slices.Contains(urls, e.url) {
			kept = append(kept, e)
			known[e.url] = true
		} else {
			gone = append(gone, e)
		}
	}
	old := len(kept)
	for _, text := range urls {
		if known[text] {
			continue
		}
		known[text] = true
		e, err := newEndpoint(text, o)
		if err != nil {
			bad = err
			continue
		}
		e.unproven.Store(old > 0)
		kept = slices.Insert(kept, rand.N(len(kept)+1), e)
	}
	l.current.Store(&kept)
	for _, e := range gone {
		e.retire()
		e.letGo()
	}
	return bad
}

// close closes all idle connections, and those that come back.
func (l *endpointList) close() {
	for _, e := range l.all() {
		e.retire()
	}
}
