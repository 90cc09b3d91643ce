package wal

import (
	"encoding/binary"
	"io"

	"canopy/internal/disk"
)

// windowBytes is the least that is read at a time.
const windowBytes = 1 << 20

// window reads a file from start to end through one buffer. The buffer is as large as the longest piece that was asked
// for, and so never larger than the file.
type window struct {
	file disk.File
	size int64  // of the file; at+len(buf) <= size
	at   int64  // offset of buf
	buf  []byte // bytes of the file
}

// bytes returns n bytes at an offset, valid until the next call. If the file ends before, it returns fewer and io.EOF.
func (w *window) bytes(at, n int64) ([]byte, error) {
	if at >= w.size {
		return nil, io.EOF
	}
	short := n > w.size-at
	if short {
		n = w.size - at
	}
	if at < w.at || at+n > w.at+int64(len(w.buf)) {
		if err := w.read(at, n); err != nil {
			return nil, err
		}
	}
	b := w.buf[at-w.at : at-w.at+n]
	if short {
		return b, io.EOF
	}
	return b, nil
}

func (w *window) read(at, n int64) error {
	n = min(max(n, windowBytes), w.size-at)
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.buf = w.buf[:n]
	w.at = at
	got, err := w.file.ReadAt(w.buf, at)
	if err == io.EOF && int64(got) < n {
		return io.ErrUnexpectedEOF // the file shrank while it was read
	}
	if err == io.EOF {
		err = nil
	}
	if err != nil {
		w.buf = w.buf[:0]
	}
	return err
}

// isZero reports whether b holds only zeros. It checks 32 bytes at a time, since a start checks whole segments.
func isZero(b []byte) bool {
	word := binary.LittleEndian.Uint64
	for ; len(b) >= 32; b = b[32:] {
		if word(b)|word(b[8:])|word(b[16:])|word(b[24:]) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
