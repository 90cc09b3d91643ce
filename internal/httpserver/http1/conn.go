package http1

import (
	"context"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"time"
)

// bufferBytes is the size up to which a request can be plain.
const bufferBytes = 4 << 10

// A conn serves one connection, in one goroutine.
type conn struct {
	net.Conn
	server  *Server
	rest    *Handover // for requests that are not plain
	buffer  []byte    // was read, and is not served yet
	room    []byte    // contains buffer
	request request
	answer  answer
	client  monitor
	state   http.ConnState     // at the beginning
	cancel  context.CancelFunc // ends the context of all requests
}

func newConn(s *Server, nc net.Conn, rest *Handover) *conn {
	c := &conn{Conn: nc, server: s, rest: rest}
	ctx := context.WithValue(context.Background(), http.ServerContextKey, s.http)
	ctx, c.cancel = context.WithCancel(context.WithValue(ctx, http.LocalAddrContextKey, nc.LocalAddr()))
	c.request.begin(ctx, nc.RemoteAddr().String())
	c.answer.begin(c)
	c.client = monitor{conn: nc, leave: c.cancel}
	c.request.origin.TLS = tlsOf(nc)
	return c
}

// serve answers requests until the connection ends or is hijacked, or a request is not plain.
func (c *conn) serve() {
	defer c.server.forget(c)
	defer c.cancel()
	defer c.recover()
	if c.room == nil {
		c.room = make([]byte, bufferBytes)
	}
	c.tell(c.state)
	for len(c.buffer) > 0 || c.fill() {
		for len(c.buffer) > 0 {
			r, n := c.request.parse(c.buffer)
			if r == nil || !c.server.plain(r) {
				c.handOver()
				return
			}
			c.buffer = c.buffer[n:]
			if !c.do(r) {
				c.end()
				return
			}
		}
	}
	c.end()
}

// fill waits for the next request.
func (c *conn) fill() bool {
	n := 0
	if !c.server.closing.Load() { // else the deadline of Shutdown may have been lifted
		n, _ = c.Read(c.room)
	}
	if n == 0 && c.server.closing.Load() && c.SetReadDeadline(time.Now().Add(lastWait)) == nil {
		n, _ = c.Read(c.room)
	}
	c.buffer = c.room[:n]
	return n > 0 // TLS may give the end together with what comes before it; then the next read gives it again
}

// handOver gives the connection to net/http.
func (c *conn) handOver() {
	c.release()
	taken := takenConn{Conn: c.Conn, server: c.server, rest: c.rest}
	c.rest.Give(&prefixedConn{takenConn: taken, prefix: c.buffer, framing: newFraming()})
}

// yield gives the connection to the handler, and returns what was read of the next request.
func (c *conn) yield() (early []byte) {
	got := c.client.end()
	c.release()
	c.tell(http.StateHijacked)
	early = append(c.buffer, got.b[:got.n]...)
	c.buffer = nil
	return early
}

// release prepares the connection for net/http: its monitor and its deadline end.
func (c *conn) release() {
	c.client.stop()
	_ = c.SetReadDeadline(time.Time{}) // fails if the connection is closed, and then net/http fails too
}

// do answers a request, and tells whether there may be another.
func (c *conn) do(r *http.Request) bool {
	c.tell(http.StateActive)
	c.answer.reset(r)
	gone := c.handle(r)
	if c.answer.hijacked || !c.answer.finish() || gone {
		return false
	}
	c.tell(http.StateIdle)
	return true
}

// handle calls the handler, and tells whether the client left meanwhile.
func (c *conn) handle(r *http.Request) (gone bool) {
	c.client.begin(c.server.http.IdleTimeout)
	defer func() { // also when the handler panics
		got := c.client.end()
		c.buffer = append(c.buffer, got.b[:got.n]...)
		gone = got.gone
	}()
	c.server.handler.ServeHTTP(&c.answer, r)
	return false
}

// tell calls the ConnState hook of the server.
func (c *conn) tell(state http.ConnState) {
	if hook := c.server.http.ConnState; hook != nil {
		hook(c.Conn, state)
	}
}

// end ends the connection, unless it was hijacked.
func (c *conn) end() {
	if c.answer.hijacked {
		return
	}
	c.Close()
	c.tell(http.StateClosed)
}

// recover limits the panic of a handler to its connection, as net/http does.
func (c *conn) recover() {
	err := recover()
	if err == nil {
		return
	}
	defer c.end()
	if err == http.ErrAbortHandler {
		return
	}
	logf := log.Printf
	if c.server.http.ErrorLog != nil {
		logf = c.server.http.ErrorLog.Printf
	}
	logf("http: panic serving %v: %v\n%s", c.RemoteAddr(), err, debug.Stack())
}
