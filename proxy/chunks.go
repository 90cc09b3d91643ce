package proxy

import (
	"errors"
	"strconv"
)

// A chunkScanner finds the frames in a chunked body (RFC 9112, 7.1), so that its bytes can be sent on unchanged. It accepts
// only the form that members write, and nothing that could be read in two ways: no extensions, no bare line feeds, no
// trailers.
type chunkScanner struct {
	state   chunkState
	digits  int    // of the present size; digits <= chunkDigits
	left    uint64 // bytes of the chunk that have not come yet; left < 1 << 4*chunkDigits
	payload bool   // there was a byte of the body
	ended   bool   // the last chunk has come
}

type chunkState uint8

const (
	inSize chunkState = iota
	afterSize
	inData
	afterData
	afterDataCR
	lastCR
	lastLF
)

var (
	errChunk    = errors.New("the member sent a malformed chunk")
	errAfterEnd = errors.New("the member sent data after the last chunk")
)

// chunkDigits bounds the length of a chunk's size.
const chunkDigits = 8

// scan scans the next bytes. If payload is not nil, it gets the contents of the chunks.
func (s *chunkScanner) scan(b []byte, within func([]byte) error) error {
	for len(b) > 0 {
		if s.ended {
			return errAfterEnd
		}
		if s.state == inData {
			n := min(uint64(len(b)), s.left)
			s.left -= n
			s.payload = true
			if s.left == 0 {
				s.state = afterData
			}
			if within != nil {
				if err := within(b[:n]); err != nil {
					return err
				}
			}
			b = b[n:]
			continue
		}
		if err := s.frame(b[0]); err != nil {
			return err
		}
		b = b[1:]
	}
	return nil
}

// frame scans one byte between contents.
func (s *chunkScanner) frame(c byte) error {
	switch {
	case s.state == inSize && c != '\r':
		return s.digit(c)
	case s.state == inSize && s.digits > 0:
		s.state = afterSize
	case s.state == afterSize && c == '\n' && s.left > 0:
		s.state = inData
	case s.state == afterSize && c == '\n':
		s.state = lastCR
	case s.state == afterData && c == '\r':
		s.state = afterDataCR
	case s.state == afterDataCR && c == '\n':
		s.state, s.digits = inSize, 0
	case s.state == lastCR && c == '\r':
		s.state = lastLF
	case s.state == lastLF && c == '\n':
		s.ended = true
	default:
		return errChunk
	}
	return nil
}

func (s *chunkScanner) digit(c byte) error {
	var value byte
	switch {
	case '0' <= c && c <= '9':
		value = c - '0'
	case 'a' <= c && c <= 'f':
		value = c - 'a' + 10
	case 'A' <= c && c <= 'F':
		value = c - 'A' + 10
	default:
		return errChunk
	}
	if s.digits++; s.digits > chunkDigits {
		return errChunk
	}
	s.left = s.left<<4 | uint64(value)
	return nil
}

// chunkHead precedes the bytes of a chunk.
func chunkHead(b []byte, n int) []byte { return append(strconv.AppendInt(b, int64(n), 16), "\r\n"...) }
