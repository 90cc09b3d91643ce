// Package http1 serves the plain requests of an HTTP/1.1 connection itself, and leaves all others to net/http.
//
// Nearly all requests of a key store are alike: a method, a short target, a few headers, perhaps a small form. net/http
// supports all of HTTP, and spends more time on such a request than the store does: on a goroutine that watches the
// connection, a context, deadlines, a new request and new headers each time. Here a connection has one goroutine. It reads
// a whole request in one piece, calls the same http.Handler, and writes the answer in one piece.
//
//	accept → (TLS) → read → plain? → handler → write ┐
//	           ↑      │no                    │
//	           └──────│──────────────────────┘
//	                  ↓
//	            http.Server, with all bytes that were read
//
// This package refuses nothing. A request that is not plain in every byte (request.go), that has not arrived completely,
// or that the owner does not want here, gets no error from it: the connection goes to net/http, for good, with all bytes
// that were read. So the package needs no limits, time-outs and error answers of its own. Both give the same answers, to
// the byte; the tests compare them.
package http1

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Server serves the connections of listeners: plain requests by itself, and the others through an http.Server, whose
// handler, time-outs and ConnState apply to both. A request that is served here
//
//   - is read completely before the handler is called, so a read deadline that the handler sets has no effect,
//   - has a context that ends at most half a second after the client has left,
//   - must not be used, nor its headers be changed, after the handler has returned,
//   - can be hijacked until its answer begins, and has no trailers.
//
// It is used by any number of goroutines.
type Server struct {
	http    *http.Server
	handler http.Handler
	plain   func(*http.Request) bool
	tls     TLS
	gate    *gate
	date    atomic.Pointer[date]

	closing atomic.Bool // set under mu

	// mu guards the fields below, for the length of one method; check is the longest.
	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}

	accepting sync.WaitGroup // one for each of listeners
	serving   sync.WaitGroup // one for each of conns
}

// New makes a server around s, whose own Serve must not be called. Requests for which plain is false go to s; plain sees
// the method, the URL and the headers, and no body.
func New(s *http.Server, plain func(*http.Request) bool) *Server {
	served := &Server{http: s, handler: s.Handler, plain: plain, gate: newGate(), listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
	adapt(s)
	served.UseTLS(TLS{})
	return served
}

// Serve accepts connections until the listener fails, or Shutdown or Close is called; then the error is
// http.ErrServerClosed. The listener is closed in any case.
func (s *Server) Serve(l net.Listener) error {
	if !s.enter(l) {
		l.Close()
		return http.ErrServerClosed
	}
	rest := NewHandover(l.Addr())
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(rest) }()
	stopChecking := s.keepChecking()
	err := s.accept(l, rest)
	s.exit(l)
	stopChecking()
	if !errors.Is(err, http.ErrServerClosed) { // else Shutdown or Close ends it, after the last connection from here
		rest.Close()
	}
	return errors.Join(err, <-served)
}

// enter adds a listener, unless the server is closing.
func (s *Server) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.accepting.Add(1)
	return true
}

// exit undoes enter, and closes the listener.
func (s *Server) exit(l net.Listener) {
	l.Close()
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	s.accepting.Done()
}

// keepChecking checks all connections every checkEvery, until it is stopped.
func (s *Server) keepChecking() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(checkEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				s.check(now)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (s *Server) check(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.client.check(now)
	}
}

// The pauses after an Accept that failed for want of descriptors or memory.
const (
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept serves each connection that comes.
func (s *Server) accept(l net.Listener, rest *Handover) error {
	pause := acceptPause
	last := false
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			s.begin(nc, rest)
		case s.closing.Load():
			if last || !wakes(l, time.Now().Add(lastWait)) {
				return http.ErrServerClosed
			}
			last = true
		case isTemporary(err):
			time.Sleep(pause)
			pause = min(2*pause, acceptPauseMax)
		default:
			return err
		}
	}
}

// isTemporary tells whether Accept may work again by itself: a resource was missing for a moment, or only that connection
// failed.
func isTemporary(err error) bool {
	for _, temporary := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
		syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH} {
		if errors.Is(err, temporary) {
			return true
		}
	}
	return false
}

// begin serves a connection in a goroutine of its own.
func (s *Server) begin(nc net.Conn, rest *Handover) {
	nc = s.secure(nc)
	c := newConn(s, nc, rest)
	serve := c.shake
	if _, isTLS := nc.(*secureConn); !isTLS {
		c.client.idleTimeout = s.http.ReadHeaderTimeout
		serve = c.serve
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.serving.Go(serve)
}

// resume takes a connection back from net/http, as an idle one; early are the bytes that were read of its next request.
func (s *Server) resume(nc net.Conn, early []byte, rest *Handover) {
	c := newConn(s, nc, rest)
	c.state, c.client.idleTimeout = http.StateIdle, s.http.IdleTimeout
	c.room = make([]byte, bufferBytes)
	c.buffer = append(c.room[:0], early...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Go(c.serve)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// lastWait is how long Shutdown still takes connections and requests that have already arrived: a client that meets a
// closed port cannot know whether its request was carried out.
const lastWait = 10 * time.Millisecond

// wakes makes Accept fail at a time, and tells whether the listener can do so without being closed.
func wakes(l net.Listener, at time.Time) bool {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(at) == nil
}

// close lets no further Serve begin, and gives the present listeners.
func (s *Server) close() []net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	return slices.Collect(maps.Keys(s.listeners))
}

// open gives the present connections.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Shutdown closes the listeners, then the idle connections, and waits until the requests in flight are answered or ctx
// ends. A request that has arrived is in flight.
func (s *Server) Shutdown(ctx context.Context) error {
	s.http.SetKeepAlivesEnabled(false) // its Shutdown comes after the last handover
	for _, l := range s.close() {
		if !wakes(l, time.Unix(1, 0)) {
			l.Close()
		}
	}
	s.accepting.Wait()
	s.gate.close()
	for _, c := range s.open() {
		_ = c.SetReadDeadline(time.Now().Add(lastWait)) // wakes those that wait for a request
	}
	ended := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended: // the requests that are not served here are handed over
	case <-time.After(2 * lastWait):
	}
	err := s.http.Shutdown(ctx)
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close closes all listeners and connections at once. It does not wait for handlers.
func (s *Server) Close() error {
	for _, l := range s.close() {
		l.Close()
	}
	s.accepting.Wait()
	s.gate.close()
	for _, c := range s.open() {
		_ = abort(c.Conn) // nothing can be done about an error
	}
	return s.http.Close()
}
