package proxy

import (
	"bufio"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is a connection to a member. One goroutine at a time uses it, to write a request and read the answer.
type conn struct {
	net.Conn
	raw  syscall.RawConn // to look at it without reading; nil with TLS
	in   *bufio.Reader   // of this conn; what it holds comes first. Nil after detach
	held []byte          // what in held when it was detached
	o    *Options

	heldBy *endpoint // that counts it among its watches; nil: none

	left int       // bytes that may still come, while the head of an answer is read
	idle time.Time // since when it has been idle

	readBy, writeBy time.Time // the deadlines of the connection; zero: none
	interrupted     atomic.Bool
	stale           bool // what look found
	peeked          [1]byte
	look            func(fd uintptr) bool
}

const (
	answerHeadBytes = 1 << 20 // line and headers of an answer
	readerBytes     = 4 << 10
	interimMax      = 8 // answers 1xx before the real one

	// justNow is how long a connection may have been idle without being looked at: less than a look takes to be worth it.
	justNow = time.Millisecond
)

var (
	errHeadTooLarge = errors.New("the head of the answer is larger than 1 MiB")
	errInterim      = errors.New("too many answers 1xx")
)

func newConn(c net.Conn, o *Options) *conn {
	up := &conn{Conn: c, o: o, left: math.MaxInt}
	up.attach()
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			up.raw = raw
		}
	}
	up.look = func(fd uintptr) bool {
		up.stale = hasInput(fd, up.peeked[:])
		return true
	}
	return up
}

// attach gives the connection a reader.
func (c *conn) attach() {
	c.in = c.o.readers.Get().(*bufio.Reader)
	c.in.Reset(c)
}

// detach takes the reader away: from now on the connection is to be read directly, after what was held. A watch that
// waits needs no reader.
func (c *conn) detach() {
	if c.in == nil {
		return
	}
	first, _ := c.in.Peek(c.in.Buffered()) // cannot fail
	c.held = append(c.held, first...)
	c.o.readers.Put(c.in)
	c.in = nil
}

// isCalm waits until there is something to read, at most so long, and tells whether nothing came. The connection is
// detached.
func (c *conn) isCalm(d time.Duration) bool {
	if c.raw == nil || len(c.held) > 0 {
		return false
	}
	c.setReadBy(time.Now().Add(d))
	err := c.awaitInput()
	c.setReadBy(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load()
}

// Close closes the connection, also one that is closed.
func (c *conn) Close() error {
	if c.heldBy != nil {
		c.heldBy.unhold(c)
	}
	return c.Conn.Close()
}

// discard closes a connection at once, without the port waiting for a minute for what may still come: of watches that
// are shared there may be hundreds a second (P41).
func (c *conn) discard() {
	if plain, ok := c.Conn.(*net.TCPConn); ok {
		_ = plain.SetLinger(0)
	}
	c.Close()
}

// Read reads what in asks for, up to the limit of a head.
func (c *conn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeadTooLarge
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// isStale tells of an idle connection whether the member has closed it, or has sent what nobody asked for.
func (c *conn) isStale() bool {
	if c.in.Buffered() > 0 {
		return true
	}
	if c.raw == nil || time.Since(c.idle) < justNow {
		return false
	}
	c.expectBy(c.o.patience) // an old deadline would be taken for an end
	err := c.raw.Read(c.look)
	return c.stale || err != nil
}

// awaitInput waits until there is something to read, without a buffer to read into. The connection is detached.
func (c *conn) awaitInput() error {
	if c.raw == nil {
		return nil
	}
	return c.raw.Read(func(fd uintptr) bool { return hasInput(fd, c.peeked[:]) })
}

// expectBy sees to it that reads fail after d, or up to half as long again: to move a deadline costs more than a
// request can pay each time. 0 stands for never.
func (c *conn) expectBy(d time.Duration) {
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

// setReadBy moves the deadline of reads, unless the connection was interrupted. A connection that is closed needs none.
func (c *conn) setReadBy(t time.Time) {
	c.readBy = t
	_ = c.SetReadDeadline(t)
	if c.interrupted.Load() {
		c.interrupt()
	}
}

// interrupt has whoever reads or writes fail at once, now and later. It may be called by any goroutine. The connection
// has to be closed then.
func (c *conn) interrupt() {
	c.interrupted.Store(true)
	_ = c.SetDeadline(time.Unix(1, 0))
}

// send writes, within Options.WriteTimeout or up to half as long again. It tells whether any byte may have gone out.
func (c *conn) send(b []byte) (sent bool, err error) {
	if d := c.o.WriteTimeout; d > 0 {
		now := time.Now()
		if c.writeBy.Sub(now) < d {
			c.writeBy = now.Add(d + d/2)
			_ = c.SetWriteDeadline(c.writeBy)
			if c.interrupted.Load() {
				c.interrupt()
			}
		}
	}
	n, err := c.Conn.Write(b)
	return n > 0, err
}

// Write is send, for what takes an io.Writer.
func (c *conn) Write(b []byte) (int, error) {
	if _, err := c.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// receive reads the head of an answer. Those that only say that the real one is to come are passed over.
func (c *conn) receive(method string) (*http.Response, error) {
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
			return nil, errors.New("the member answered 101, which nobody asked for")
		}
	}
	return nil, errInterim
}

// chunkHead is what comes before the bytes of a chunk.
func chunkHead(b []byte, n int) []byte { return append(strconv.AppendInt(b, int64(n), 16), "\r\n"...) }
