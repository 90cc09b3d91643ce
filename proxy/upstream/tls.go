package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// dial makes a connection to a member, with TLS if it is to be secure. DialTimeout bounds the connection and the handshake, each.
func (o *Options) dial(ctx context.Context, address string, secure bool) (net.Conn, error) {
	limit := max(o.DialTimeout, 0)
	conn, err := (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp", address)
	if err != nil || !secure {
		return conn, err
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return o.secure(ctx, conn, address)
}

// secure begins TLS with the member at an address.
func (o *Options) secure(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err == nil && o.TLS == nil {
		err = errors.New("its URL is https, and this proxy has no TLS")
	}
	if err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	secured, err := o.TLS(ctx, conn, host)
	if err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return secured, nil
}

// transport makes the connections of requests for the list of members.
func (o *Options) transport() *http.Transport {
	return &http.Transport{
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return o.dial(ctx, address, false) },
		DialTLSContext:    func(ctx context.Context, _, address string) (net.Conn, error) { return o.dial(ctx, address, true) },
		DisableKeepAlives: true,
	}
}

// inWords explains failures of TLS (T42).
func (o *Options) inWords(err error) string {
	if kind, text := o.ExplainTLS(err); kind != "" {
		return text
	}
	return err.Error()
}

// below gives the connection below TLS; without TLS it is c.
func below(c net.Conn) net.Conn {
	for {
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = around.NetConn()
	}
}

// rawOf gives access to the socket of a connection; nil: it has none.
func rawOf(c net.Conn) syscall.RawConn {
	s, ok := below(c).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// hasPending tells whether a read would give something without reading from the socket: TLS may have read more from it than the
// last read has given. The byte that shows it comes first in the next read.
func (c *Conn) hasPending() bool {
	if !c.secured || c.unread {
		return c.unread
	}
	before := c.readBy
	c.setReadBy(time.Unix(1, 0)) // a read of the socket fails, and TLS goes on after that
	n, err := c.Conn.Read(c.peeked[:])
	c.setReadBy(before)
	c.unread = n > 0
	return n > 0 || !errors.Is(err, os.ErrDeadlineExceeded)
}
