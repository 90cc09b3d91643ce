package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// autoLength is the size up to which an answer waits until its length is known, as in net/http.
	autoLength = 2 << 10
	// outBytes is how much of an answer is collected before it is written.
	outBytes = 16 << 10
	// outBytesKept is the largest buffer that a connection keeps between two answers.
	outBytesKept = 4 << 10
)

// An answer is the http.ResponseWriter of a connection's requests, one after the other.
type answer struct {
	c      *conn
	header http.Header
	names  []string // of the header, in the order of sending
	lines  []byte   // see HeaderLines
	out    []byte   // not written yet
	broken error    // of the connection

	toHEAD      bool
	status      int    // 0 until there is one
	held        []byte // of the body, as long as the head waits for its length
	begun       bool   // nothing is held any more
	chunked     bool
	length      int64 // that the handler declared; -1: none
	taken       int64 // bytes of the body from the handler, even those beyond length
	typed       bool  // there is a type, or a reason not to guess one
	dated       bool
	closes      bool // this is the last answer of the connection
	hijacked    bool // the handler has the connection
	writeLimits bool // the connection has a write deadline
}

func (a *answer) begin(c *conn) {
	a.c, a.header = c, http.Header{}
}

// reset begins the answer to a request.
func (a *answer) reset(r *http.Request) {
	if len(a.header) > 0 {
		clear(a.header)
	}
	*a = answer{c: a.c, header: a.header, names: a.names[:0], lines: a.lines[:0], out: a.out[:0], held: a.held[:0], toHEAD: r.Method == http.MethodHead, length: -1}
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// HeaderLines takes headers as lines, before the handler writes: complete with their ends, sorted, a Content-Type among
// them, and none that the server sets or interprets itself (Content-Length, Connection, Date and the like). They come
// before those of Header. For the few headers that every answer has, a map and its sorting cost as much as the rest of
// the answer.
func (a *answer) HeaderLines() *[]byte { return &a.lines }

// WriteHeader implements http.ResponseWriter. It leaves informational answers out, since a plain request has none.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < http.StatusOK {
		return
	}
	a.status = status
	a.out = append(a.out, "HTTP/1.1 "...)
	a.out = strconv.AppendInt(a.out, int64(status), 10)
	a.out = append(a.out, ' ')
	a.out = append(a.out, reason(status)...)
	a.out = append(a.out, "\r\n"...)
	a.out = append(a.out, a.lines...)
	a.typed = len(a.lines) > 0
	for name := range a.header {
		a.names = append(a.names, name)
	}
	slices.Sort(a.names)
	for _, name := range a.names {
		if !isToken(name) {
			continue
		}
		for _, value := range a.header[name] {
			if a.apply(name, value) {
				a.out = appendField(a.out, name, value)
			}
		}
		a.typed = a.typed || name == "Content-Type"
	}
}

// reason is the phrase of a status, as net/http has it.
func reason(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "status code " + strconv.Itoa(status)
}

// apply applies a header of the handler that is about the answer itself. False if it must not be sent.
func (a *answer) apply(name, value string) bool {
	switch name {
	case "Content-Length":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return false
		}
		a.length = n
	case "Content-Encoding":
		a.typed = a.typed || value != ""
	case "Connection":
		a.closes = a.closes || strings.EqualFold(value, "close")
	case "Date":
		a.dated = true
	case "Transfer-Encoding", "Trailer":
		return false
	}
	return true
}

func appendField(b []byte, name, value string) []byte {
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, textproto.TrimString(value)...)
	return append(b, "\r\n"...)
}

// bodiless tells whether an answer of this status has no body, whatever the handler writes.
func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(b) == 0:
		return 0, a.broken
	case bodiless(a.status):
		return 0, http.ErrBodyNotAllowed
	}
	a.taken += int64(len(b)) // refused bytes count too, so that none follow them
	switch {
	case a.length >= 0 && a.taken > a.length:
		return 0, http.ErrContentLength
	case !a.begun && len(a.held)+len(b) <= autoLength:
		a.held = append(a.held, b...)
	case !a.begun:
		a.start(b)
		a.send(a.held)
		a.send(b)
	default:
		a.send(b)
	}
	if a.broken != nil {
		return 0, a.broken
	}
	return len(b), nil
}

// start ends the head of an answer whose length is not known, unless the handler declared it.
func (a *answer) start(sample []byte) {
	a.begun = true
	a.chunked = a.length < 0 && !a.toHEAD && !bodiless(a.status)
	if len(a.held) > 0 {
		sample = a.held
	}
	a.endHead(sample, -1)
}

// endHead writes the headers of the server; a negative length is left out.
func (a *answer) endHead(sample []byte, length int) {
	if !a.dated {
		a.out = append(a.out, a.c.server.today()...)
	}
	if length >= 0 {
		a.out = append(a.out, "Content-Length: "...)
		a.out = strconv.AppendInt(a.out, int64(length), 10)
		a.out = append(a.out, "\r\n"...)
	}
	if !a.typed && len(sample) > 0 && !bodiless(a.status) {
		a.out = appendField(a.out, "Content-Type", http.DetectContentType(sample))
	}
	if !a.closes && a.c.server.closing.Load() {
		a.closes = true
		a.out = append(a.out, "Connection: close\r\n"...)
	}
	if a.chunked {
		a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
	}
	a.out = append(a.out, "\r\n"...)
}

// send appends a part of the body to out, and writes out when it is large.
func (a *answer) send(b []byte) {
	if a.toHEAD || len(b) == 0 {
		return
	}
	if a.chunked {
		a.out = strconv.AppendInt(a.out, int64(len(b)), 16)
		a.out = append(a.out, "\r\n"...)
	}
	if len(a.out)+len(b) > outBytes {
		a.write()
	}
	if len(b) > outBytes {
		if a.broken == nil {
			_, a.broken = a.c.Write(b)
		}
	} else {
		a.out = append(a.out, b...)
	}
	if a.chunked {
		a.out = append(a.out, "\r\n"...)
	}
}

// write writes out.
func (a *answer) write() {
	if a.broken == nil && len(a.out) > 0 {
		_, a.broken = a.c.Write(a.out)
	}
	a.out = a.out[:0]
}

// FlushError writes all that the handler has written so far; it is for http.ResponseController.
func (a *answer) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.begun {
		a.start(nil)
		a.send(a.held)
	}
	a.write()
	return a.broken
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// SetReadDeadline is for http.ResponseController. It has no effect: the request has been read.
func (a *answer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController. It applies to this answer. After the first call, any goroutine
// may call it.
func (a *answer) SetWriteDeadline(t time.Time) error {
	if !a.writeLimits {
		a.writeLimits = true
	}
	return a.c.SetWriteDeadline(t)
}

// Hijack implements http.Hijacker, for answers that are not begun. The reader has the bytes that were read of the next
// request. The connection is one that its server takes back, see hijack.Conn.Return.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.hijacked || a.status != 0 {
		return nil, nil, http.ErrHijacked
	}
	a.hijacked = true
	early := a.c.yield()
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), a.c.Conn), len(early))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	taken := &takenConn{Conn: a.c.Conn, server: a.c.server, rest: a.c.rest}
	return taken, bufio.NewReadWriter(reader, bufio.NewWriterSize(a.c.Conn, 0)), nil
}

// finish ends the answer, and tells whether the connection can serve another request.
func (a *answer) finish() bool {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case !a.begun:
		a.endHead(a.held, a.ownLength())
		a.send(a.held)
	case a.chunked:
		a.out = append(a.out, "0\r\n\r\n"...)
	}
	a.write()
	if a.writeLimits && a.c.SetWriteDeadline(time.Time{}) != nil {
		return false
	}
	if cap(a.out) > outBytesKept {
		a.out = nil
	}
	wrong := a.length >= 0 && a.length != a.taken && !a.toHEAD && !bodiless(a.status)
	return a.broken == nil && !a.closes && !wrong
}

// ownLength is the Content-Length of an answer that is held completely; -1 if it has none.
func (a *answer) ownLength() int {
	if a.length >= 0 || bodiless(a.status) || a.toHEAD && len(a.held) == 0 {
		return -1
	}
	return len(a.held)
}

// A date is the Date header of one second.
type date struct {
	second int64
	line   []byte
}

// today is the Date header, as a line.
func (s *Server) today() []byte {
	now := time.Now()
	if d := s.date.Load(); d != nil && d.second == now.Unix() {
		return d.line
	}
	d := &date{now.Unix(), appendField(nil, "Date", now.UTC().Format(http.TimeFormat))}
	s.date.Store(d)
	return d.line
}
