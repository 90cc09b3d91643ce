package proxy

import "errors"

// A chunkScanner finds the frames in a chunked body (RFC 9112, 7.1), which may then be passed on as it is. It takes them in the
// one form that members write, and nothing that could be read in two ways: no extensions, no bare line feeds, no
// trailers.
type chunkScanner struct {
	state   chunkState
	digits  int
	left    uint64 // bytes of the chunk that are still to come
	payload bool   // there was a byte of a body
	ended   bool   // the last chunk was there
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
	errAfterEnd = errors.New("the member sent something after the last chunk")
)

// chunkDigits is how long the size of a chunk may be.
const chunkDigits = 8

// scan looks at the next bytes. If it is given a function, that gets what is within the chunks.
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

// frame looks at one byte between data.
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
