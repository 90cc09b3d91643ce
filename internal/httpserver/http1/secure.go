package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// TLS says how a Server serves connections with TLS. Each handshake is done in the goroutine of its connection. Then HTTP/2
// goes to net/http, if the client and Config chose it, and HTTP/1.1 is served as without TLS.
type TLS struct {
	Config  *tls.Config   // of every connection; nil: a connection has TLS if the listener gives a *tls.Conn
	Timeout time.Duration // for a handshake; default 10 s (T20)

	// Failed is called when a handshake has failed and its connection is closed; nil: it is not. The connection is only
	// there to be asked for addresses.
	Failed func(net.Conn, error)

	// Received gives a function that is called with what a client has sent, decrypted, and may refuse it; nil: there is none.
	// It is asked once for each connection, below TLS.
	Received func(net.Conn) func([]byte) error

	Client func(net.Addr) netip.Prefix // tells clients apart, for their shares of handshakes; default: all are one
}

const defaultHandshakeTimeout = 10 * time.Second

// UseTLS is called before Serve.
func (s *Server) UseTLS(t TLS) {
	if t.Timeout <= 0 {
		t.Timeout = defaultHandshakeTimeout
	}
	if t.Failed == nil {
		t.Failed = func(net.Conn, error) {}
	}
	if t.Received == nil {
		t.Received = func(net.Conn) func([]byte) error { return nil }
	}
	if t.Client == nil {
		t.Client = func(net.Addr) netip.Prefix { return netip.Prefix{} }
	}
	if t.Config != nil {
		t.Config = t.Config.Clone()
		t.Config.DynamicRecordSizingDisabled = true // an answer is one record, and one write
	}
	s.tls = t
}

// A secureConn is a connection with TLS. It has one reader.
type secureConn struct {
	*tls.Conn
	below    *gatedConn // nil if the handshake was begun elsewhere
	received func([]byte) error
	state    *tls.ConnectionState // of all requests; nil until the handshake is done
}

// secure gives a new connection with TLS, if it is to have TLS.
func (s *Server) secure(nc net.Conn) net.Conn {
	t, given := nc.(*tls.Conn)
	switch {
	case given:
		return &secureConn{Conn: t, received: s.tls.Received(t.NetConn())}
	case s.tls.Config == nil:
		return nc
	}
	below := &gatedConn{Conn: nc, gate: s.gate, client: s.tls.Client(nc.RemoteAddr())}
	return &secureConn{Conn: tls.Server(below, s.tls.Config), below: below, received: s.tls.Received(nc)}
}

// tlsOf gives the state of a connection; nil: it has no TLS.
func tlsOf(nc net.Conn) *tls.ConnectionState {
	if secured, ok := nc.(*secureConn); ok {
		return secured.state
	}
	return nil
}

// Read gives what the client has sent, decrypted.
func (c *secureConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.received != nil {
		if refused := c.received(b[:n]); refused != nil {
			return 0, refused
		}
	}
	return n, err
}

// abort closes a connection without a word: the word that ends TLS may have to wait for the client.
func abort(nc net.Conn) error {
	if secured, ok := nc.(*secureConn); ok {
		return secured.NetConn().Close()
	}
	return nc.Close()
}

// shake does the handshake of a connection, and has the connection served in another goroutine, whose stack is small.
func (c *conn) shake() {
	served := false
	defer func() {
		if !served {
			c.server.forget(c)
			c.cancel()
		}
	}()
	defer c.recover()
	t := c.Conn.(*secureConn)
	if err := c.handshake(t); err != nil {
		c.refuse(t, err)
		return
	}
	state := t.ConnectionState()
	t.state = &state
	if state.NegotiatedProtocol == "h2" {
		c.release()
		c.rest.Give(c.server.http2(t))
		return
	}
	c.request.origin.TLS = t.state
	c.client.await(c.server.http.ReadHeaderTimeout)
	served = true
	c.server.serving.Go(c.serve)
}

// handshake lets it take as long as TLS.Timeout.
func (c *conn) handshake(t *secureConn) error {
	by := time.Now().Add(c.server.tls.Timeout)
	if err := t.SetDeadline(by); err != nil {
		return err
	}
	if c.server.closing.Load() { // the deadline of Shutdown may have been lifted
		if err := t.SetReadDeadline(time.Now().Add(lastWait)); err != nil {
			return err
		}
	}
	if t.below == nil { // when it begins and when it waits cannot be known
		place := c.server.tls.Client(t.RemoteAddr())
		if !c.server.gate.enter(place, by) {
			return os.ErrDeadlineExceeded
		}
		defer c.server.gate.leave(place)
	} else {
		t.below.begin(by)
		defer t.below.end()
	}
	if err := t.Handshake(); err != nil {
		return err
	}
	return t.SetDeadline(time.Time{})
}

// refuse ends a connection whose handshake has failed.
func (c *conn) refuse(t *secureConn, err error) {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && header.Conn != nil && beginsRequest(header.RecordHeader[:]):
		err = ErrPlainHTTP
		_, _ = io.WriteString(header.Conn, plainHTTPAnswer) // the client may have left
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the client did not finish the TLS handshake within %v: %w", c.server.tls.Timeout, os.ErrDeadlineExceeded)
	}
	c.linger(t, err)
	_ = abort(t) // TLS has sent its alert
	if !c.server.closing.Load() {
		c.server.tls.Failed(t.Conn, err)
	}
}

// How long a client may take to read why it is refused, and how much it may still send.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// linger reads what the client still sends. With TLS 1.3 its request may be there already; if that was left unread, closing
// the connection would reset it, and the client would lose the alert that says why.
func (c *conn) linger(t *secureConn, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || c.server.closing.Load() {
		return
	}
	below := t.NetConn()
	if below.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, below, lingerBytes) // ends when the client has closed its side
	}
}

// ErrPlainHTTP says that a client sent a request without TLS to a port with TLS.
var ErrPlainHTTP = errors.New("the client sent an HTTP request without TLS")

// plainHTTPAnswer is the answer to that, as net/http gives it (T15).
const plainHTTPAnswer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// beginsRequest tells whether the first bytes are those of a request of HTTP/1.
func beginsRequest(b []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "OPTIO", "DELET", "TRACE", "CONNE", "QGET "} {
		if bytes.Equal(b, []byte(method)) {
			return true
		}
	}
	return false
}

// An http2Conn is a connection whose handshake has chosen HTTP/2. net/http believes it to have no TLS, since otherwise it
// would accept a bare *tls.Conn only, which does not show what the client sends.
type http2Conn struct {
	secured *secureConn
	net.Conn
}

// NetConn is the connection below, as of tls.Conn.
func (c *http2Conn) NetConn() net.Conn { return c.Conn }

// http2 gives a connection in a form in which net/http serves HTTP/2 on it.
func (s *Server) http2(t *secureConn) net.Conn {
	if s.http.Protocols == nil || !s.http.Protocols.UnencryptedHTTP2() {
		return t.Conn
	}
	return &http2Conn{t, t}
}

// setTLS makes net/http's request on a connection that it does not know to have TLS say so.
func setTLS(r *http.Request, nc net.Conn) {
	switch c := nc.(type) {
	case *prefixedConn:
		r.TLS = tlsOf(c.Conn)
	case *http2Conn:
		r.TLS = c.secured.state
	}
}
