package httpserver

import (
	"bytes"
	"net"
	"net/http"
	"sync/atomic"

	"canopy/internal/memory"
)

// What a connection receives takes memory before a handler runs. net/http bounds the bytes of a header, but parses them
// into as much as twenty times their size, since each line becomes an entry of a map. So a header that is not small is
// counted while it arrives, by bytes and lines, until its request has been answered.
const (
	freeHeaderBytes = 4 << 10 // are covered by the bytes of the connection
	headerCopies    = 2       // of each byte: in the buffer, and in a name or value
	headerLineBytes = 160     // of a line, in a map

	http2Bytes       = 64 << 10  // of an HTTP/2 connection, in addition: frames and tables
	http2BodyBytes   = 256 << 10 // of bodies on such a connection that no handler has read yet
	http2StreamBytes = 16 << 10  // of a request on it
)

// intake is the memory that a connection has taken for what it sends.
type intake struct {
	closed atomic.Bool

	// The goroutine that reads uses these.
	phase         uint64 // idle of the connection when the present header began
	header, lines int64  // of it
	isHTTP2       bool
	hasBodies     bool

	taken   atomic.Int64 // for the header of the present request
	streams atomic.Int64 // for being HTTP/2
}

// count takes the memory of the next bytes. For net/http its error means that the connection is lost.
func (c *budgetConn) count(b []byte) error {
	ok := true
	switch {
	case c.pace.isHTTP2():
		ok = c.countHTTP2()
	default:
		if phase := c.idle.Load(); phase != 0 {
			ok = c.countHeader(phase, b)
		}
	}
	if ok {
		return nil
	}
	return &net.OpError{Op: "read", Net: "tcp", Addr: c.Conn.RemoteAddr(), Err: memory.ErrUsedUp}
}

func (c *budgetConn) countHeader(phase uint64, b []byte) bool {
	if phase != c.phase {
		c.phase, c.header, c.lines = phase, 0, 0
	}
	c.header += int64(len(b))
	c.lines += int64(bytes.Count(b, newline))
	if c.header <= freeHeaderBytes {
		return true
	}
	return c.take(&c.taken, c.header*headerCopies+c.lines*headerLineBytes-c.taken.Load())
}

var newline = []byte{'\n'}

func (c *budgetConn) countHTTP2() bool {
	if !c.isHTTP2 {
		c.isHTTP2 = true
		c.giveBack()
		if !c.take(&c.streams, http2Bytes) {
			return false
		}
	}
	if c.pace.data && !c.hasBodies {
		c.hasBodies = true
		return c.take(&c.streams, http2BodyBytes)
	}
	return true
}

// take takes more memory for a purpose, and gives it back at once if the connection has been closed meanwhile.
func (c *budgetConn) take(purpose *atomic.Int64, more int64) bool {
	if !c.budget.memory.Take(more) {
		return false
	}
	purpose.Add(more)
	if c.closed.Load() {
		c.budget.memory.Give(purpose.Swap(0))
	}
	return true
}

// giveBack gives the memory of a request's header back.
func (c *budgetConn) giveBack() {
	if c.taken.Load() != 0 {
		c.budget.memory.Give(c.taken.Swap(0))
	}
}

// countStreams makes each HTTP/2 request take its memory: a connection may have hundreds.
func (o *Options) countStreams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			next.ServeHTTP(w, r)
			return
		}
		header := headerBytes(r)
		take := o.Memory.TakeReserved
		if header > freeHeaderBytes {
			take = o.Memory.Take
		}
		if !take(http2StreamBytes + header) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, memory.ErrUsedUp.Error(), http.StatusServiceUnavailable)
			return
		}
		defer o.Memory.Give(http2StreamBytes + header)
		next.ServeHTTP(w, r)
	})
}

// headerBytes is the memory of a request's line and headers.
func headerBytes(r *http.Request) int64 {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		n += len(name) + headerLineBytes
		for _, value := range values {
			n += len(value)
		}
	}
	return int64(n)
}
