// Package http1 serves the plain requests of an HTTP/1.1 connection itself, and leaves all others to net/http.
//
// What clients of a key store send is nearly always the same few lines: a method, a short target, a handful of
// headers, perhaps a small form. net/http is made for everything that HTTP can be, and spends more on such a request
// than the store does: a goroutine that watches the connection, a context, deadlines, a request and its headers made
// anew each time. Here a connection has one goroutine, which reads a whole request in one piece, hands it to the same
// http.Handler, and writes the answer in one piece.
//
//	accept → read → plain? → handler → write ┐
//	           ↑      │no                    │
//	           └──────│──────────────────────┘
//	                  ↓
//	            http.Server, with all bytes that were read
//
// The rule that keeps it honest: this package refuses nothing. A request that is not plain in every byte (request.go),
// that has not arrived as a whole, or that the owner does not want here, is never answered with an error, but given to
// net/http together with its connection, for good. So it needs no limits, time-outs and error answers of its own, and
// what both can serve they serve alike, to the byte; the tests hold one against the other.
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

// A Server serves the connections of listeners: plain requests by itself, the others through an http.Server whose
// handler, time-outs and ConnState hold for both. A request that is served here
//
//   - is read completely before the handler is called, so that read deadlines which the handler sets mean nothing,
//   - has a context that ends half a second after the client has left, at the latest,
//   - must not be used, nor its headers be changed, after the handler has returned,
//   - cannot be hijacked, and has no trailers.
//
// It is used by any number of goroutines.
type Server struct {
	http    *http.Server
	handler http.Handler
	plain   func(*http.Request) bool
	date    atomic.Pointer[date]

	closing atomic.Bool // set under mu

	// mu guards the fields below, for the length of one method; a look at all connections is the longest.
	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}

	accepting sync.WaitGroup // one for each of listeners
	serving   sync.WaitGroup // one for each of conns
}

// New makes a server around s, which must not be served by itself. Requests for which plain is false go to s, whatever
// they look like; plain sees method, URL and headers, and no body.
func New(s *http.Server, plain func(*http.Request) bool) *Server {
	handler := s.Handler
	closeUnclear(s)
	return &Server{http: s, handler: handler, plain: plain, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
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
	stopLooking := s.keepLooking()
	err := s.accept(l, rest)
	s.exit(l)
	stopLooking()
	if !errors.Is(err, http.ErrServerClosed) { // else Shutdown or Close ends it, when nothing comes from here any more
		rest.Close()
	}
	return errors.Join(err, <-served)
}

// enter notes a listener, unless the server is closing.
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

// keepLooking looks now and then whether clients are still there, and have something to ask, until it is stopped.
func (s *Server) keepLooking() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				s.look(now)
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

func (s *Server) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.client.look(now)
	}
}

// The pauses after an Accept for which there were no descriptors or no memory.
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
			if last || !wakes(l, time.Now().Add(lastLook)) {
				return http.ErrServerClosed
			}
			last = true
		case isPassing(err):
			time.Sleep(pause)
			pause = min(2*pause, acceptPauseMax)
		default:
			return err
		}
	}
}

// isPassing tells whether Accept may work again, without anything being done about it: something lacked for a moment, or
// it is the connection that failed.
func isPassing(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
		syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// begin serves a connection in a goroutine of its own.
func (s *Server) begin(nc net.Conn, rest *Handover) {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.serving.Go(func() { c.serve(rest) })
}

// resume serves a connection on that net/http had, as an idle one, beginning with bytes that were read of it.
func (s *Server) resume(nc net.Conn, early []byte, rest *Handover) {
	c := newConn(s, nc)
	c.state, c.client.patience = http.StateIdle, s.http.IdleTimeout
	c.room = make([]byte, bufferBytes)
	c.buffer = append(c.room[:0], early...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Go(func() { c.serve(rest) })
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// lastLook is how long Shutdown still takes connections and requests, so that what had come before is served: a client
// whose request is met by a closed port cannot know whether it was done.
const lastLook = 10 * time.Millisecond

// wakes has Accept fail at a time, and tells whether the listener can do so without being closed.
func wakes(l net.Listener, at time.Time) bool {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(at) == nil
}

// close has no further Serve begin, and gives the listeners that there are.
func (s *Server) close() []net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	return slices.Collect(maps.Keys(s.listeners))
}

// open gives the connections that there are.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Shutdown closes the listeners, then the idle connections, and waits until the requests in flight are answered or ctx
// ends. What has come by then is in flight.
func (s *Server) Shutdown(ctx context.Context) error {
	s.http.SetKeepAlivesEnabled(false) // its Shutdown comes when nothing is handed over any more
	for _, l := range s.close() {
		if !wakes(l, time.Unix(1, 0)) {
			l.Close()
		}
	}
	s.accepting.Wait()
	for _, c := range s.open() {
		_ = c.SetReadDeadline(time.Now().Add(lastLook)) // wakes those that wait for a request
	}
	ended := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended: // the requests that are not served here are handed over
	case <-time.After(2 * lastLook):
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
	for _, c := range s.open() {
		c.Close()
	}
	return s.http.Close()
}
