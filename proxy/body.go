package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"canopy/internal/memory"
	"canopy/proxy/upstream"
)

// keptBytes is how much of a large body is kept in order to send it again (P20), if there is memory.
const keptBytes = 1 << 20

// errMemory refuses a request that needs more memory than there is.
var errMemory = errors.New("proxy: the memory for requests is used up")

// bodyError tells why the body of a request could not be read to its end.
type bodyError struct {
	cause error
	cut   bool // fewer bytes arrived than the client had announced
}

// Error gives the text of a member for the same error.
func (e *bodyError) Error() string {
	switch {
	case errors.Is(e.cause, os.ErrDeadlineExceeded):
		return "the body did not arrive in time"
	case e.cut: // trailers and HTTP/2 have errors of their own for it
		return io.ErrUnexpectedEOF.Error()
	}
	return e.cause.Error()
}

// Unwrap gives the error of reading.
func (e *bodyError) Unwrap() error { return e.cause }

// A body is the body of a request that is being sent. What was sent can be sent again, unless it is too large.
type body struct {
	from    io.Reader
	length  int64      // -1: unknown, so it is sent in chunks
	kept    []byte     // len(kept) <= taken
	forgot  bool       // more was read than is kept
	failure *bodyError // of reading from the client

	memory *memory.Budget
	taken  int64 // of the budget of memory, for kept; 0 once it is forgotten
}

// addBody reads a small body into the head, which is then complete, or prepares to stream a larger one. It needs a buffer
// while it works.
func (p *Proxy) addBody(q *request, w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		if q.method != http.MethodGet && q.method != http.MethodHead {
			q.head = append(q.head, "Content-Length: 0\r\n"...)
		}
		q.head = append(q.head, "\r\n"...)
		return nil
	}
	if r.ContentLength < 0 || r.ContentLength > bufferBytes {
		// The time-out of the whole request covers a small body.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.o.BodyTimeout))
	}
	buffer := p.buffer()
	defer p.release(buffer)
	n, whole, err := readUpTo(r.Body, *buffer)
	switch {
	case err != nil:
		return &bodyError{cause: err, cut: int64(n) < r.ContentLength || r.Context().Err() != nil}
	case whole:
		q.finishHead(int64(n))
		q.head = append(q.head, (*buffer)[:n]...)
	case !p.o.Memory.Take(bufferBytes):
		return errMemory
	default:
		q.body = &body{taken: bufferBytes, from: r.Body, length: r.ContentLength, kept: append([]byte(nil), (*buffer)[:n]...), memory: p.o.Memory}
		q.finishHead(r.ContentLength)
	}
	return nil
}

// readUpTo fills the buffer, unless the body ends before; whole tells whether it ended. A body that is cut is an error, which
// io.ReadFull does not distinguish from an end.
func readUpTo(body io.Reader, buffer []byte) (n int, whole bool, err error) {
	for n < len(buffer) {
		m, err := body.Read(buffer[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// finishHead adds the length of the body, and ends the head.
func (q *request) finishHead(length int64) {
	if length < 0 {
		q.head = append(q.head, "Transfer-Encoding: chunked\r\n\r\n"...)
		return
	}
	q.head = append(q.head, "Content-Length: "...)
	q.head = strconv.AppendInt(q.head, length, 10)
	q.head = append(q.head, "\r\n\r\n"...)
}

// sendTo writes the kept part and then the rest, which it keeps as far as there is memory.
func (b *body) sendTo(c *upstream.Conn, buffer []byte) error {
	if err := b.sendPart(c, b.kept); err != nil {
		return err
	}
	for {
		n, err := b.from.Read(buffer)
		if n > 0 {
			b.keep(buffer[:n])
			if err := b.sendPart(c, buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && b.length < 0:
			_, err := c.Send([]byte("0\r\n\r\n"))
			return err
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			b.failure = &bodyError{cause: err, cut: b.length >= 0}
			return b.failure
		}
	}
}

// keep keeps a part, or forgets all.
func (b *body) keep(part []byte) {
	if b.forgot {
		return
	}
	have := int64(len(b.kept) + len(part))
	if have > b.taken && !b.take(max(2*b.taken, have)-b.taken) || have > keptBytes {
		b.forget()
		return
	}
	b.kept = append(b.kept, part...)
}

// take takes memory to keep more.
func (b *body) take(more int64) bool {
	if !b.memory.Try(more) {
		return false
	}
	b.taken += more
	return true
}

// forget drops the kept part: the body cannot be sent again.
func (b *body) forget() {
	b.forgot, b.kept = true, nil
	b.memory.Give(b.taken)
	b.taken = 0
}

func (b *body) sendPart(c *upstream.Conn, part []byte) error {
	if len(part) == 0 {
		return nil
	}
	if b.length >= 0 {
		_, err := c.Send(part)
		return err
	}
	if _, err := c.Send(chunkHead(nil, len(part))); err != nil {
		return err
	}
	if _, err := c.Send(part); err != nil {
		return err
	}
	_, err := c.Send([]byte("\r\n"))
	return err
}
