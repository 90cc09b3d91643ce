package rafthttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// secure begins TLS with the peer that a host belongs to.
func (t *Transport) secure(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	if t.o.TLS == nil {
		_ = conn.Close() // nothing was sent
		return nil, errors.New("its URL is https, and this member has no TLS")
	}
	secured, err := t.o.TLS(ctx, conn, host)
	if err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", host, err)
	}
	return secured, nil
}

// closeNow closes a connection, and does not wait. With TLS, Close alone would send a last alert, and wait for 5 s if the other side
// takes nothing. Frames and bodies tell their length, so they do not need that alert.
func closeNow(conn net.Conn) {
	for c := conn; c != nil; {
		if secured, ok := c.(*tls.Conn); ok {
			_ = secured.NetConn().Close() // nothing can be done about an error, here and below
			break
		}
		around, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = around.NetConn()
	}
	_ = conn.Close()
}

// lastWords gives the alert of the other side instead of the error of a write. With TLS 1.3 a member learns only after its own
// handshake that its certificate is refused (T31), and by then the connection may be closed already.
func lastWords(conn net.Conn, err error) error {
	if _, ok := conn.(*tls.Conn); !ok {
		return err
	}
	var alert *net.OpError
	if _, last := conn.Read(make([]byte, 1)); errors.As(last, &alert) && alert.Op == "remote error" {
		return last
	}
	return err
}

// textOfTLSPort begins the answer of a server that speaks TLS to a request without TLS.
const textOfTLSPort = "Client sent an HTTP request to an HTTPS server"

// errTLSPort is the failure of an http URL that leads to a port with TLS (T14).
var errTLSPort = errors.New("its URL is http, and its port speaks TLS: its peer URL must be https")

// complainEvery is how often a failure of TLS is logged while it lasts (T30).
const complainEvery = 30 * time.Second

// complaint tells a failure of TLS in words, if it is time to log it: nobody else would find out why the members do not reach
// each other (T30). "": it is not. p.mu is held.
func (p *peer) complaint(err error, now time.Time) string {
	kind, text := "no TLS", errTLSPort.Error()
	switch {
	case errors.As(err, new(*Refusal)):
		return "" // it is logged already
	case !errors.Is(err, errTLSPort):
		kind, text = p.t.o.ExplainTLS(err)
	}
	if last, told := p.warned[kind]; kind == "" || told && now.Sub(last) < complainEvery {
		return ""
	}
	if p.warned == nil {
		p.warned = map[string]time.Time{}
	}
	p.warned[kind] = now
	return text
}
