// Package hijack takes connections from net/http for answers without an end: the events of a stream. While such a
// connection waits, it takes one goroutine with a small stack, or two, and no buffer. A handler would keep its request, its
// buffers and its deadlines.
package hijack

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// A Conn is a hijacked connection. It is closed once, or returned.
type Conn struct {
	net.Conn
	early  []byte        // of the next request; only the reader uses it until it has ended
	broken bool          // more arrived than early holds, or the client has left; as above
	read   chan struct{} // closed when the reader has ended

	// mu guards over, for the length of closing a connection.
	mu   sync.Mutex
	over bool // it is closed, or returned
}

// A returner is a connection that its server takes back.
type returner interface{ Return(early []byte) }

// Take hijacks the connection of a request. If it is false, nothing has happened: HTTP/1.0 has no chunks, and requests of
// HTTP/2 share a connection.
func Take(w http.ResponseWriter, r *http.Request) (*Conn, bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return nil, false
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, false
	}
	c := New(conn)
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	c.keep(early)
	c.broken = c.broken || err != nil
	return c, true
}

// New makes a Conn of a connection that was hijacked. Its deadlines, those of net/http, end.
func New(conn net.Conn) *Conn {
	_ = conn.SetDeadline(time.Time{}) // fails if the connection is closed, and then all else does
	return &Conn{Conn: conn, read: make(chan struct{})}
}

// Head is the head of a chunked answer on the wire, with the given headers and those of a stream. It changes header. If the
// client keeps the connection, Return follows the answer.
func Head(header http.Header, keeps bool) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	header.Set("Transfer-Encoding", "chunked")
	if !keeps {
		header.Set("Connection", "close") // a further request on this connection is not read
	}
	_ = header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// Serve runs send, and closes the connection unless send returned it. The context of send ends when the client leaves.
func (c *Conn) Serve(ctx context.Context, send func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		if c.AwaitEnd() {
			cancel()
		}
	}()
	send(ctx)
	cancel()
	c.Close() // also ends AwaitEnd
	<-c.read
}

// AwaitEnd reads until the client leaves or sends too much (true), or the connection is closed (true) or returned (false).
// Serve calls it; without Serve, one goroutine calls it once, for others to write meanwhile.
func (c *Conn) AwaitEnd() (left bool) {
	defer close(c.read)
	return c.awaitEnd()
}

// Close closes the connection, unless it is closed or returned.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.over = true
	return c.Conn.Close()
}

// Return returns the connection to its server, after a complete answer without "Connection: close". Closing it would break
// the request that the client may be sending now. It is called within Serve, or while another goroutine is in AwaitEnd.
func (c *Conn) Return() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	err := c.SetReadDeadline(time.Unix(1, 0)) // the reader ends
	<-c.read
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	server, takes := c.Conn.(returner)
	if err != nil || c.broken || !takes {
		_ = c.Conn.Close() // nothing can be done about an error
		return
	}
	server.Return(c.early)
}

// How much a client may send on a stream before it counts as broken, and how much of that is kept for its next request.
const (
	strayBytesMax = 64 << 10
	earlyBytesMax = 4 << 10
)

// keep keeps bytes that the client sent before its answer was complete.
func (c *Conn) keep(b []byte) {
	if len(c.early)+len(b) > earlyBytesMax {
		c.broken = true
		return
	}
	c.early = append(c.early, b...)
}

// awaitEnd returns true when the client has closed its side or has sent too much, and false when the connection is
// returned.
func (c *Conn) awaitEnd() bool {
	var b [32]byte
	for stray := 0; stray < strayBytesMax; {
		n, err := c.Conn.Read(b[:])
		c.keep(b[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			break
		}
		stray += n
	}
	c.broken = true
	return true
}
