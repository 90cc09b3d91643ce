// Package hijack takes connections over from net/http, for answers that have
// no end: events of a stream, as they happen. Such a connection costs two
// goroutines with small stacks and no buffer while it waits, where a handler
// would keep its request, its buffers and its deadlines.
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

// A Conn is a connection that was taken. It is closed once, or given back.
type Conn struct {
	net.Conn
	early []byte        // of the next request; the reader's until it has ended
	torn  bool          // more came than early holds, or the client has left; as above
	read  chan struct{} // closed when the reader has ended; nil before Serve

	// mu guards over, for the length of closing a connection.
	mu   sync.Mutex
	over bool // it is closed, or given back
}

// A returner is a connection that its server takes back.
type returner interface{ Return(early []byte) }

// Take takes the connection of a request. If it cannot, nothing has happened:
// HTTP/1.0 knows no chunks, and HTTP/2 shares its connections.
func Take(w http.ResponseWriter, r *http.Request) (*Conn, bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return nil, false
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, false
	}
	c := &Conn{Conn: conn}
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	c.keep(early)
	c.torn = c.torn || err != nil
	return c, true
}

// Head is the beginning of a chunked answer on the wire, with these fields and
// those that it needs. The header is changed.
func Head(header http.Header) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	header.Set("Transfer-Encoding", "chunked")
	header.Set("Connection", "close") // what follows on this connection is not read
	_ = header.Write(&b)              // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// Serve runs send, and closes the connection if that did not give it back. The
// context of send ends when the client leaves.
func (c *Conn) Serve(ctx context.Context, send func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	_ = c.SetDeadline(time.Time{}) // those of net/http
	c.read = make(chan struct{})
	go func() {
		defer close(c.read)
		if c.awaitEnd() {
			cancel()
		}
	}()
	send(ctx)
	cancel()
	c.Close() // also ends awaitEnd
	<-c.read
}

// Close closes the connection, unless it is over.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.over = true
	return c.Conn.Close()
}

// GiveBack ends the service of a connection whose answer is complete and said
// nothing of closing: the server goes on with it. To close it would break the
// request that the client may be sending now. It is called within Serve.
func (c *Conn) GiveBack() {
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
	if err != nil || c.torn || !takes {
		_ = c.Conn.Close() // nobody is left to be told
		return
	}
	server.Return(c.early)
}

// The bounds of what a client may send on a stream before it counts as broken,
// and of what is kept as the beginning of its next request.
const (
	strayBytesMax = 64 << 10
	earlyBytesMax = 4 << 10
)

// keep keeps what the client sent before its answer was complete.
func (c *Conn) keep(b []byte) {
	if len(c.early)+len(b) > earlyBytesMax {
		c.torn = true
		return
	}
	c.early = append(c.early, b...)
}

// awaitEnd returns when the client has closed its side, or sends what it should
// not; then it is true. It is false when the connection is given back.
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
	c.torn = true
	return true
}
