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
)

// Idle connections are closed long before a member would do it, which is after 5 minutes: a request on a connection
// that is just being closed is lost.
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
	leaving  atomic.Int64 // by Options.now, until when it is only the second choice
	unproven atomic.Bool  // it is only the second choice until a probe finds it well
	answered atomic.Int64 // by Options.now, the last answer; 0: none yet
	distance distance     // of the prober

	mu      sync.Mutex // guards what follows
	idle    []*conn    // the one used last comes last
	closed  bool
	watches map[*conn]struct{} // connections of watches
}

// rest is why no requests go to an endpoint, and since when.
type rest struct {
	reason  string
	since   time.Time
	answers bool // it has no quorum, but is asked before nobody is
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

// take gives an idle connection that is still good, or nil. One that the member has closed means that it was started
// anew, since it would keep idle connections for longer than we do: until it has caught up it may lack what clients
// have seen.
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

// give takes back a connection whose answer was read to its end.
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

// retire drops the idle connections, and keeps no more.
func (e *endpoint) retire() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.drop()
}

// hold notes that a connection is that of a watch, until it is closed or unheld.
func (e *endpoint) hold(c *conn) {
	c.heldBy = e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches == nil {
		e.watches = map[*conn]struct{}{}
	}
	e.watches[c] = struct{}{}
}

// unhold undoes hold. From then on letGo does not touch the connection.
func (e *endpoint) unhold(c *conn) {
	c.heldBy = nil
	e.mu.Lock()
	delete(e.watches, c)
	e.mu.Unlock()
}

// letGo breaks all watches, so that they are taken up by another endpoint, or cut (P32, P33).
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

// isSecondChoice tells whether the member said that it is about to stop, or was started anew or added a moment ago.
func (e *endpoint) isSecondChoice() bool {
	if e.unproven.Load() {
		return true
	}
	until := e.leaving.Load()
	return until != 0 && e.o.now() < until
}

// now is the time since the proxy began, in ns. A step of the wall clock does not move it.
func (o *Options) now() int64 { return int64(time.Since(o.began)) }

// An endpointList is all endpoints, those first that are preferred. The slice behind it is replaced, not changed.
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

// next gives the first endpoint that is well and not among those tried; failing that, a second choice, and the one that
// said longest ago that it is about to stop: it may be back by now; or one that rests but answers; nil if there is none.
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

// isAnyWell tells whether there is an endpoint that does not rest.
func (l *endpointList) isAnyWell() bool {
	return slices.ContainsFunc(l.all(), func(e *endpoint) bool { return e.resting.Load() == nil })
}

// replace makes the list one of these URLs. Those that are there keep their state and order, so that clients stay
// with their member (P13, P15). New ones are put in at random places, so that the clients of many proxies spread; but
// unless all are new, they are only the second choice until a probe has found them well, and how near they are.
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

// close gives up all idle connections, and those that come back.
func (l *endpointList) close() {
	for _, e := range l.all() {
		e.retire()
	}
}
