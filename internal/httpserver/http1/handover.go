package http1

import (
	"net"
	"sync"
)

// A Handover is a listener of connections that were accepted elsewhere.
type Handover struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewHandover makes one whose Addr is addr.
func NewHandover(addr net.Addr) *Handover {
	return &Handover{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Give hands a connection over, or closes it if the Handover is closed.
func (h *Handover) Give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

// Accept implements net.Listener.
func (h *Handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were accepted stay open.
func (h *Handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *Handover) Addr() net.Addr { return h.addr }

// A takenConn is a connection that http1 has given away, to net/http or to a handler.
type takenConn struct {
	net.Conn
	server *Server   // that accepted it
	rest   *Handover // of that server
}

// Return gives a hijacked connection back to its server; early are the bytes that were read of its next request.
func (c *takenConn) Return(early []byte) { c.server.resume(c.Conn, early, c.rest) }

// NetConn is the connection below, as of tls.Conn.
func (c *takenConn) NetConn() net.Conn { return c.Conn }

// A prefixedConn is a connection of which some bytes were read before. It has one reader.
type prefixedConn struct {
	takenConn
	prefix  []byte
	framing framing
}

// Read gives the bytes that were read before, and then further ones.
func (c *prefixedConn) Read(b []byte) (int, error) {
	if len(c.prefix) == 0 {
		n, err := c.Conn.Read(b)
		c.framing.search(b[:n])
		return n, err
	}
	n := copy(b, c.prefix)
	c.framing.search(b[:n])
	if c.prefix = c.prefix[n:]; len(c.prefix) == 0 {
		c.prefix = nil
	}
	return n, nil
}
