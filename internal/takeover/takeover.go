// Package takeover takes connections over from net/http, for answers that have
// no end: events of a stream, as they happen. Such a connection costs two
// goroutines with small stacks and no buffer while it waits, where a handler
// would keep its request, its buffers and its deadlines.
package takeover

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"time"
)

// Take takes the connection of a request. If it cannot, nothing has happened:
// HTTP/1.0 knows no chunks, and HTTP/2 shares its connections.
func Take(w http.ResponseWriter, r *http.Request) (net.Conn, bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return nil, false
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	return conn, err == nil
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

// Serve runs send on a connection that was taken, and closes it. The context of
// send ends when the client leaves.
func Serve(ctx context.Context, conn net.Conn, send func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	left := make(chan struct{})
	_ = conn.SetDeadline(time.Time{}) // those of net/http
	go func() {
		defer close(left)
		awaitEnd(conn)
		cancel()
	}()
	send(ctx)
	cancel()
	_ = conn.Close() // also ends awaitEnd
	<-left
}

// strayBytesMax is how much a client may send on a stream before it counts as broken.
const strayBytesMax = 64 << 10

// awaitEnd returns when the client has closed its side, or sends what it should not.
func awaitEnd(conn net.Conn) {
	var b [32]byte
	for stray := 0; stray < strayBytesMax; {
		n, err := conn.Read(b[:])
		if err != nil {
			return
		}
		stray += n
	}
}
