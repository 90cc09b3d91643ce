// Package wire is a small HTTP/1.1 client for load generators: requests are
// bytes made beforehand, answers are taken apart no further than needed.
//
// A Reader cuts a stream of bytes into answers: ReadHead gives status and
// framing, then Piece gives the body part by part until io.EOF. A Conn is a
// Reader on a connection to this machine, with a time limit on all it does.
// Neither allocates per answer. Nothing is retried, redirected or decompressed.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	bufferBytes = 16 << 10 // also the longest head, and the longest chunk-size line
	lengthMax   = 1 << 40  // bodies and chunks announced longer are refused
)

// ErrMalformed is wrapped by every error about bytes that are no HTTP answer.
var ErrMalformed = errors.New("malformed HTTP answer")

// Head is the part of an answer's head that a load generator needs.
type Head struct {
	Status  int   // 100 to 999
	Length  int64 // of the body in bytes; -1 when it is chunked or ends with the connection
	Chunked bool
	Close   bool // the server will close the connection
}

// framing says how the end of a body is found.
type framing uint8

const (
	bodyDone    framing = iota
	bodyLength          // after left bytes
	bodyChunked         // left bytes remain of the present chunk; then another size line
	bodyToClose         // with the connection
)

// Reader takes answers from a stream. It is used by one goroutine.
type Reader struct {
	src    io.Reader
	buf    []byte
	r, w   int // buf[r:w] is read but not used
	body   framing
	left   int64
	inBody bool // a chunk has been given out: its line end comes before the next size
}

// NewReader reads answers from src.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: make([]byte, bufferBytes)}
}

// ReadHead reads the next head; interim (1xx) answers are passed over. The body
// before must have been read to its end. io.EOF means that the stream ended
// cleanly between answers.
func (r *Reader) ReadHead() (Head, error) {
	for range 16 {
		end, err := r.find("\r\n\r\n")
		if err != nil {
			return Head{}, err
		}
		head := r.buf[r.r : end+2]
		h, err := parseHead(head)
		r.r = end + 4
		if err != nil {
			return Head{}, err
		}
		if h.Status >= 200 {
			r.beginBody(h)
			return h, nil
		}
	}
	return Head{}, fmt.Errorf("%w: endless interim answers", ErrMalformed)
}

func (r *Reader) beginBody(h Head) {
	r.inBody, r.left = false, 0
	switch {
	case h.Status == 204 || h.Status == 304:
		r.body = bodyDone
	case h.Chunked:
		r.body = bodyChunked
	case h.Length >= 0:
		r.body, r.left = bodyLength, h.Length
	default:
		r.body = bodyToClose
	}
}

// Piece returns the next bytes of the body, at least one, valid until the next
// call; io.EOF at its end. A stream that ends within a body that announces its
// end is io.ErrUnexpectedEOF.
func (r *Reader) Piece() ([]byte, error) {
	if r.body == bodyChunked && r.left == 0 {
		if err := r.nextChunk(); err != nil {
			return nil, err
		}
	}
	if r.body == bodyLength && r.left == 0 {
		r.body = bodyDone
	}
	if r.body == bodyDone {
		return nil, io.EOF
	}
	if r.r == r.w {
		if err := r.fill(); err != nil {
			if r.body == bodyToClose || !errors.Is(err, io.EOF) {
				return nil, err
			}
			return nil, io.ErrUnexpectedEOF
		}
	}
	n := r.w - r.r
	if r.body != bodyToClose {
		n = int(min(int64(n), r.left))
		r.left -= int64(n)
	}
	piece := r.buf[r.r : r.r+n]
	r.r += n
	return piece, nil
}

// nextChunk reads the line that opens a chunk; after the last one it reads the
// trailer and ends the body.
func (r *Reader) nextChunk() error {
	if r.inBody {
		if err := r.expectLineEnd(); err != nil {
			return unexpected(err)
		}
	}
	r.inBody = true
	end, err := r.find("\r\n")
	if err != nil {
		return unexpected(err)
	}
	size, err := parseChunkSize(r.buf[r.r:end])
	if err != nil {
		return err
	}
	r.r = end + 2
	r.left = size
	if size > 0 {
		return nil
	}
	for range 64 {
		end, err := r.find("\r\n")
		if err != nil {
			return unexpected(err)
		}
		empty := end == r.r
		r.r = end + 2
		if empty {
			r.body = bodyDone
			return nil
		}
	}
	return fmt.Errorf("%w: endless trailer", ErrMalformed)
}

func (r *Reader) expectLineEnd() error {
	end, err := r.find("\r\n")
	if err != nil {
		return err
	}
	if end != r.r {
		return fmt.Errorf("%w: a chunk is longer than announced", ErrMalformed)
	}
	r.r += 2
	return nil
}

// find reads until mark is in the buffer and returns where. A mark further off
// than the buffer is long is an error.
func (r *Reader) find(mark string) (int, error) {
	from := r.r
	for {
		if i := bytes.Index(r.buf[from:r.w], []byte(mark)); i >= 0 {
			return from + i, nil
		}
		scanned := r.w - r.r
		if scanned == len(r.buf) {
			return 0, fmt.Errorf("%w: no end of line within %d bytes", ErrMalformed, len(r.buf))
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && scanned > 0 {
				return 0, io.ErrUnexpectedEOF
			}
			return 0, err
		}
		from = r.r + max(scanned-len(mark)+1, 0)
	}
}

// fill reads at least one byte more. The caller has checked that there is room
// or that nothing unused is in the buffer.
func (r *Reader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	} else if r.w == len(r.buf) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// unexpected turns the end of the stream into an end at the wrong place.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
