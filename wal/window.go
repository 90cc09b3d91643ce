package wal

import (
	"encoding/binary"
	"io"

	"canopy/internal/disk"
)

// windowBytes is how much of a file is read at once, in bytes.
const windowBytes = 1 << 20

// window reads a file front to back through one buffer, which grows to the longest piece asked for, and so never beyond
// the file itself.
type window struct {
	file disk.File
	size int64  // of the file
	at   int64  // offset of buf
	buf  []byte // what has been read
}

// bytes returns n bytes at an offset, valid until the next call; fewer and io.EOF if the file ends before.
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

// isZero reports whether b holds zeros only. It looks at 32 bytes at a time: at a start, whole segments are looked at.
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
