package http1

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// If a request states the end of its body in two ways, a proxy in front of this server may read two requests. net/http
// reads such a request in the one correct way, but keeps the connection. RFC 9112 (6.1) demands that it is closed. So a
// connection that goes to net/http searches for both headers in what it reads. It does not know where a request begins:
// a client that uses both framings on one connection only loses the connection.

// A finder searches for a line that begins with a name, in bytes that come in any parts. The name starts with the end of
// the line before, a byte that occurs nowhere else in it.
type finder struct {
	name  string
	have  int // bytes of it that came last
	found atomic.Bool
}

func (f *finder) search(b []byte) {
	for len(b) > 0 && !f.found.Load() {
		if f.have == 0 {
			next := bytes.IndexByte(b, f.name[0])
			if next < 0 {
				return
			}
			b = b[next:]
		}
		c := b[0]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch c {
		case f.name[f.have]:
			f.have++
			b = b[1:]
		case f.name[0]:
			f.have = 0
		default:
			f.have = 0
			b = b[1:]
		}
		if f.have == len(f.name) {
			f.found.Store(true)
		}
	}
}

// framing is how a connection has stated the end of bodies.
type framing struct{ length, coding finder }

func newFraming() framing {
	return framing{length: finder{name: "\ncontent-length"}, coding: finder{name: "\ntransfer-encoding"}}
}

func (f *framing) search(b []byte) {
	f.length.search(b)
	f.coding.search(b)
}

// isUnclear tells whether a request may have stated it in two ways. HTTP/1.0 has no codings.
func (f *framing) isUnclear(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 && f.length.found.Load() || !r.ProtoAtLeast(1, 1) && f.coding.found.Load()
}

type connKey struct{}

// adapt makes s know the connections that are handed over to it: a request on one with TLS has its state, and one that may
// have stated the end of its body in two ways is the last.
func adapt(s *http.Server) {
	before, handler := s.ConnContext, s.Handler
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _ := r.Context().Value(connKey{}).(net.Conn)
		setTLS(r, nc)
		if c, ok := nc.(*prefixedConn); ok && r.ProtoMajor == 1 && c.framing.isUnclear(r) {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}
