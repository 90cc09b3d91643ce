package upstream

import (
	"bufio"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A Conn is a connection to a member. One goroutine at a time uses it, to write a request and to read the answer.
type Conn struct {
	net.Conn
	raw  syscall.RawConn // of the socket, to check for input without reading; nil: there is none
	in   *bufio.Reader   // reads from this conn; its buffer comes first. Nil after Detach
	held []byte          // what was in the buffer of in when it was detached
	o    *Options

	heldBy *Endpoint // counts it among its watches; nil: none

	left int       // bytes that may still come while the head of an answer is read
	idle time.Time // since when it has been idle

	readBy, writeBy time.Time // the deadlines of the connection; zero: none
	interrupted     atomic.Bool
	stale           bool    // result of checkInput
	secured         bool    // it has TLS
	peeked          [1]byte // of the socket; with TLS of what was decrypted
	unread          bool    // peeked comes before everything else
	checkInput      func(fd uintptr) bool
}

const (
	answerHeadBytes = 1 << 20 // line and headers of an answer
	interimMax      = 8       // answers 1xx before the real one

	// ReaderBytes is the size of the buffer of a connection that is not detached.
	ReaderBytes = 4 << 10

	// justNow is how long a connection may have been idle without a check: a check would cost more than it is worth.
	justNow = time.Millisecond
)

var (
	errHeadTooLarge = errors.New("the head of the answer is larger than 1 MiB")
	errInterim      = errors.New("too many answers 1xx")
)

func newConn(c net.Conn, o *Options) *Conn {
	_, secured := c.(*tls.Conn)
	up := &Conn{Conn: c, o: o, left: math.MaxInt, raw: rawOf(c), secured: secured}
	up.attach()
	up.checkInput = func(fd uintptr) bool {
		up.stale = hasInput(fd)
		return true
	}
	return up
}

// attach gives the connection a reader.
func (c *Conn) attach() {
	c.in = c.o.readers.Get().(*bufio.Reader)
	c.in.Reset(c)
}

// Detach takes the reader away: from now on reads go directly to the connection, after TakeHeld. A watch that waits needs
// no reader.
func (c *Conn) Detach() {
	if c.in == nil {
		return
	}
	first, _ := c.in.Peek(c.in.Buffered()) // cannot fail
	c.held = append(c.held, first...)
	c.o.readers.Put(c.in)
	c.in = nil
}

// TakeHeld gives the bytes that the reader had when it was detached, once.
func (c *Conn) TakeHeld() []byte {
	held := c.held
	c.held = nil
	return held
}

// IsQuietFor waits for input, at most for d, and tells whether none came. The connection is detached.
func (c *Conn) IsQuietFor(d time.Duration) bool {
	if c.raw == nil || len(c.held) > 0 {
		return false
	}
	c.setReadBy(time.Now().Add(d))
	err := c.AwaitInput()
	c.setReadBy(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load()
}

// Unhold removes the connection from those of watches.
func (c *Conn) Unhold() {
	if c.heldBy != nil {
		c.heldBy.unhold(c)
	}
}

// IsClean tells whether the connection can be used again after a complete answer: it was not interrupted, and nothing more has
// come.
func (c *Conn) IsClean() bool { return !c.interrupted.Load() && (c.in == nil || c.in.Buffered() == 0) }

// Close closes the connection; it may be closed already. TLS sends no last alert, for which it might wait: the member knows where
// requests end.
func (c *Conn) Close() error {
	c.Unhold()
	if secured, ok := c.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close() // nothing can be done about an error
	}
	return c.Conn.Close()
}

// Discard closes a connection with a reset, so that its port is free at once and not after a minute: shared watches may end
// hundreds of connections a second (P41).
func (c *Conn) Discard() {
	if socket, ok := below(c.Conn).(*net.TCPConn); ok {
		_ = socket.SetLinger(0)
	}
	c.Close()
}

// Read implements io.Reader. While the head of an answer is read, it is bounded.
func (c *Conn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeadTooLarge
	}
	if c.unread && len(b) > 0 {
		b[0], c.unread = c.peeked[0], false
		c.left--
		return 1, nil
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// isStale tells whether the member has closed an idle connection, or has sent data without a request.
func (c *Conn) isStale() bool {
	if c.in.Buffered() > 0 {
		return true
	}
	if c.raw == nil || time.Since(c.idle) < justNow {
		return false
	}
	c.ExpectBy(c.o.answerTime()) // an old deadline would look like an end
	if c.hasPending() {
		return true
	}
	err := c.raw.Read(c.checkInput)
	return c.stale || err != nil
}

// AwaitInput waits for input, without a buffer to read into. The connection is detached.
func (c *Conn) AwaitInput() error {
	if c.raw == nil || c.hasPending() {
		return nil
	}
	return c.raw.Read(hasInput)
}

// ExpectBy makes reads fail after d, or up to half as long again: setting the deadline for each request would cost too much.
// 0: never.
func (c *Conn) ExpectBy(d time.Duration) {
	if d <= 0 {
		if !c.readBy.IsZero() {
			c.setReadBy(time.Time{})
		}
		return
	}
	now := time.Now()
	if left := c.readBy.Sub(now); left < d || left > d+d/2 {
		c.setReadBy(now.Add(d + d/2))
	}
}

// setReadBy sets the deadline of reads, unless the connection was interrupted. A closed connection needs none.
func (c *Conn) setReadBy(t time.Time) {
	c.readBy = t
	_ = c.SetReadDeadline(t)
	if c.interrupted.Load() {
		c.Interrupt()
	}
}

// Interrupt makes all reads and writes fail, now and later. Any goroutine may call it. The connection must be closed then.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	_ = c.SetDeadline(time.Unix(1, 0))
}

// Send writes, within Options.WriteTimeout or up to half as long again. It tells whether any byte may have been sent.
func (c *Conn) Send(b []byte) (sent bool, err error) {
	if d := c.o.WriteTimeout; d > 0 {
		now := time.Now()
		if c.writeBy.Sub(now) < d {
			c.writeBy = now.Add(d + d/2)
			_ = c.SetWriteDeadline(c.writeBy)
			if c.interrupted.Load() {
				c.Interrupt()
			}
		}
	}
	n, err := c.Conn.Write(b)
	return n > 0, err
}

// Write is Send as an io.Writer.
func (c *Conn) Write(b []byte) (int, error) {
	if _, err := c.Send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Receive reads the head of an answer, and skips informational answers.
func (c *Conn) Receive(method string) (*http.Response, error) {
	c.left = answerHeadBytes
	defer func() { c.left = math.MaxInt }()
	request := &http.Request{Method: method}
	for range interimMax {
		answer, err := http.ReadResponse(c.in, request)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode >= 200 {
			return answer, nil
		}
		if answer.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("the member answered 101 without a request to upgrade")
		}
	}
	return nil, errInterim
}
