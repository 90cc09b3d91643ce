package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// renewAfter is how old a time limit gets before it is moved on: setting one
// for each request would cost more than the rest of the client.
const renewAfter = time.Second

// Conn is one connection to a server on this machine. It is used by one
// goroutine, except for Close.
type Conn struct {
	*Reader
	net     net.Conn
	timeout time.Duration
	renewed time.Time
}

// Dial connects to addr, which must be a loopback address with a port. Requests
// that take longer than timeout, or up to a second more, fail.
func Dial(ctx context.Context, addr string, timeout time.Duration) (*Conn, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().IsLoopback() {
		return nil, fmt.Errorf("%q is not a loopback address with a port, like 127.0.0.1:2379", addr)
	}
	d := net.Dialer{Timeout: timeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Reader: NewReader(nc), net: nc, timeout: timeout}, nil
}

// Close closes the connection and ends a call that waits for it.
func (c *Conn) Close() error { return c.net.Close() }

// Send writes one request at the time now, and gives it and its answer the time
// limit of the connection.
func (c *Conn) Send(now time.Time, request []byte) error {
	if now.Sub(c.renewed) > renewAfter {
		if err := c.Renew(now); err != nil {
			return err
		}
	}
	_, err := c.net.Write(request)
	return err
}

// Renew moves the time limit on: for streams, whose answers have no end.
func (c *Conn) Renew(now time.Time) error {
	c.renewed = now
	return c.net.SetDeadline(now.Add(c.timeout + renewAfter))
}

// Do sends one request at the time now and reads its whole answer. It returns
// the status and the length of the body.
func (c *Conn) Do(now time.Time, request []byte) (status int, bodyBytes int64, err error) {
	if err := c.Send(now, request); err != nil {
		return 0, 0, err
	}
	h, err := c.ReadHead()
	if err != nil {
		return 0, 0, unexpected(err)
	}
	for {
		piece, err := c.Piece()
		bodyBytes += int64(len(piece))
		if errors.Is(err, io.EOF) {
			return h.Status, bodyBytes, nil
		}
		if err != nil {
			return h.Status, bodyBytes, err
		}
	}
}
