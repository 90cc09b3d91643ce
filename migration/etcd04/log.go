package etcd04

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"canopy/migration/report"
)

// entry is an entry of the log (G42).
type entry struct {
	index, term uint64
	name        string
	command     []byte
}

// recordMax is the most bytes of a record.
const recordMax = 64 << 20

// read reads all whole entries of the log. It notes a torn end in the report.
func (s *Source) read(take func(entry) error) (err error) {
	path := filepath.Join(s.dir, "log")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r := reader{in: bufio.NewReaderSize(f, 1<<16), left: info.Size()}
	for r.left > 0 {
		at := info.Size() - r.left
		e, torn, err := r.next()
		if err == nil && !torn {
			err = take(e)
		}
		if err != nil {
			return fmt.Errorf("%s is damaged at byte %d: %w", path, at, err)
		}
		if torn {
			s.report.Cut = &report.Cut{File: path, Offset: at, Bytes: info.Size() - at}
			return nil
		}
	}
	return nil
}

// reader reads records. left is what the file has behind them.
type reader struct {
	in   *bufio.Reader
	left int64
}

const headBytes = 9

// next reads a record. It is torn if the file ends within it, or only zeros follow.
func (r *reader) next() (e entry, torn bool, err error) {
	head, err := r.in.Peek(int(min(headBytes, r.left)))
	if err != nil {
		return e, false, err
	}
	if len(head) < headBytes {
		return e, true, nil
	}
	digits := bytes.TrimLeft(head[:8], " ")
	n, bad := strconv.ParseUint(string(digits), 16, 32)
	if bad != nil || head[8] != '\n' || n == 0 || n > recordMax {
		zeros, err := r.zeros()
		if err != nil || zeros {
			return e, zeros, err
		}
		return e, false, fmt.Errorf("the length of a record is %q", head)
	}
	if _, err := r.in.Discard(headBytes); err != nil {
		return e, false, err
	}
	r.left -= headBytes
	b := make([]byte, 0, min(int64(n), r.left))
	b = b[:min(int64(n), r.left)]
	if _, err := io.ReadFull(r.in, b); err != nil {
		return e, false, err
	}
	r.left -= int64(len(b))
	length, ok := e.parse(b)
	switch {
	case int64(len(b)) < int64(n) && (length == 0 || length == n):
		return e, true, nil
	case uint64(len(b)) < n || !ok:
		return e, false, errors.New("an entry cannot be read")
	}
	return e, false, nil
}

// zeros tells whether only zeros follow.
func (r *reader) zeros() (bool, error) {
	for {
		c, err := r.in.ReadByte()
		if err == io.EOF {
			return true, nil
		}
		if err != nil || c != 0 {
			return false, err
		}
	}
}

// parse reads the message of an entry. length is what it tells of itself in its last field; 0: that is not there, or not whole.
func (e *entry) parse(b []byte) (length uint64, ok bool) {
	total := uint64(len(b))
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return length, false
		}
		b = b[n:]
		v, m := protowire.ConsumeVarint(b)
		if m < 0 {
			return length, false
		}
		b = b[m:]
		switch {
		case kind == protowire.VarintType && number == 1:
			e.index = v
		case kind == protowire.VarintType && number == 2:
			e.term = v
		case kind == protowire.BytesType && (number == 3 || number == 4):
			if number == 4 {
				length = total - uint64(len(b)) + v
			}
			if v > uint64(len(b)) {
				return length, false
			}
			if number == 3 {
				e.name = string(b[:v])
			} else {
				e.command = b[:v]
			}
			b = b[v:]
		default:
			return length, false
		}
	}
	return length, e.index > 0 && e.name != ""
}
