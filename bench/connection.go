package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// connection is a lean HTTP/1.1 client, since load and server share a machine:
// prepared requests go out as they are, and of answers only what frames them
// is looked at.
type connection struct {
	net.Conn
	r *bufio.Reader
}

// ioTimeout bounds every exchange.
const ioTimeout = 60 * time.Second

// dial connects, with TLS if the target has it.
func dial(t target) (*connection, error) {
	_, address, _ := strings.Cut(t.endpoint, "://")
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		if c, err = handshake(c, address, t.tls); err != nil {
			return nil, err
		}
	}
	return &connection{Conn: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

// head is what frames an answer.
type head struct {
	status  int
	length  int64 // of the body; -1 if it is chunked
	chunked bool
}

// exchange sends a request and reads the whole answer; body gets it if not nil.
func (c *connection) exchange(request []byte, body io.Writer) (status int, err error) {
	if err := c.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return 0, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	h, err := readHead(c.r)
	if err != nil {
		return 0, err
	}
	if body == nil {
		body = io.Discard
	}
	return h.status, readBody(c.r, h, body)
}

func readHead(r *bufio.Reader) (head, error) {
	h := head{length: -1}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return h, fmt.Errorf("not a status line: %q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("not a status line: %q", line)
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if err := h.field(line); err != nil {
			return h, err
		}
	}
	if h.length < 0 && !h.chunked {
		return h, errors.New("the answer has neither a length nor chunks")
	}
	return h, nil
}

func (h *head) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("bad length %q", value)
		}
		h.length = n
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	}
	return nil
}

func readBody(r *bufio.Reader, h head, to io.Writer) error {
	if !h.chunked {
		_, err := io.CopyN(to, r, h.length)
		return err
	}
	for {
		n, err := readChunk(r, to)
		if err != nil || n == 0 {
			return err
		}
	}
}

// readChunk copies one chunk and gives its size, 0 for the last.
func readChunk(r *bufio.Reader, to io.Writer) (int64, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 63)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("bad chunk size %q", line)
	}
	if _, err := io.CopyN(to, r, n); err != nil {
		return 0, err
	}
	end, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(bytes.TrimRight(end, "\r\n")) > 0 {
		return 0, fmt.Errorf("a chunk ends in %q", end)
	}
	return n, nil
}

// put is a request that sets key to a value of so many bytes.
func (t target) put(key string, valueBytes int, more string) []byte {
	body := "value=" + strings.Repeat("x", valueBytes) + more
	return fmt.Appendf(nil, "PUT /v2/keys%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", key, t.who, len(body), body)
}

// get is a request that reads a path.
func (t target) get(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", path, t.who)
}
