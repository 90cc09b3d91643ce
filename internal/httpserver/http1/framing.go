package http1

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// A request that says in two ways where its body ends may be two requests to somebody in front of this server. net/http
// reads it in the one way that is right, but keeps the connection, and forgets that there were two. RFC 9112 has such a
// connection closed (6.1): so a connection that came by here looks for both headers in what it reads. It need not know
// where a request begins: a client that uses both framings on one connection only loses the connection.

// A finder looks for a line that begins with a name, in bytes that come in any parts. The name begins with the end of the
// line before, which is nowhere else in it.
type finder struct {
	name  string
	have  int // bytes of it that came last
	found atomic.Bool
}

func (f *finder) look(b []byte) {
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

// framing is what a connection has said of where bodies end.
type framing struct{ length, coding finder }

func newFraming() framing {
	return framing{length: finder{name: "\ncontent-length"}, coding: finder{name: "\ntransfer-encoding"}}
}

func (f *framing) look(b []byte) {
	f.length.look(b)
	f.coding.look(b)
}

// isUnclear tells whether a request may have said it in two ways. In HTTP/1.0 there are no codings.
func (f *framing) isUnclear(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 && f.length.found.Load() || !r.ProtoAtLeast(1, 1) && f.coding.found.Load()
}

type connKey struct{}

// closeUnclear has s close a connection after a request that may have said in two ways where its body ends.
func closeUnclear(s *http.Server) {
	before, handler := s.ConnContext, s.Handler
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*prefixedConn); ok && r.ProtoMajor == 1 && c.framing.isUnclear(r) {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}
