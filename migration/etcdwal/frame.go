// Package etcdwal reads the write-ahead log of etcd 2.x and 3.x: segments, records, and the entries in them.
//
// It opens files for reading only, believes no number in them, and tells three ends apart: the log ends, its last record was
// torn by a crash, or it is damaged. What may be damage is never taken for an end without a word.
package etcdwal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// EntryKind is the kind of records with an entry.
const EntryKind = kindEntry

// The kinds of records (G9).
const (
	kindMetadata = 1
	kindEntry    = 2
	kindState    = 3
	kindChecksum = 4
	kindMark     = 5
)

// recordMax is the most bytes of a record (G16).
const recordMax = 64 << 20

const sector = 512

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DamageError is damage in a file.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

// Error names file, offset and reason.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}

// Cut is a torn end that was cut off.
type Cut struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	Kind   uint64 `json:"-"` // of the torn record; 0: not known
}

// record is one record of a segment. Its data is valid until the next one is read.
type record struct {
	at       int64
	kind     uint64
	checksum uint32
	data     []byte
	hasData  bool
}

// segment reads the records of one file.
type segment struct {
	name string
	in   io.ReaderAt
	size int64
	last bool // a torn end is possible

	at      int64
	running uint32 // of the chain
	padded  bool   // a record had padding: all that follow have, too
	cut     *Cut
	buf     []byte // bytes [bufAt, bufAt+len(buf)) of the file
	bufAt   int64
	failed  error // of the disk
}

const window = 1 << 20

// bytes gives bytes of the file, at most n, fewer at its end.
func (s *segment) bytes(at, n int64) []byte {
	n = max(0, min(n, s.size-at))
	if at >= s.bufAt && at+n <= s.bufAt+int64(len(s.buf)) {
		return s.buf[at-s.bufAt:][:n]
	}
	want := min(max(n, window), s.size-at)
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.bufAt = s.buf[:want], at
	got, err := s.in.ReadAt(s.buf, at)
	if err != nil && (err != io.EOF || int64(got) < want) {
		s.failed = fmt.Errorf("read %s: %w", s.name, err)
		s.buf = s.buf[:0]
		return nil
	}
	return s.buf[:n]
}

func (s *segment) damaged(at int64, reason string) error {
	if s.failed != nil {
		return s.failed
	}
	return &DamageError{File: s.name, Offset: at, Reason: reason}
}

// zero tells whether bytes of the file are all zero.
func (s *segment) zero(from, to int64) bool {
	for from < to {
		b := s.bytes(from, min(to-from, window))
		if len(b) == 0 {
			return s.failed == nil
		}
		for _, c := range b {
			if c != 0 {
				return false
			}
		}
		from += int64(len(b))
	}
	return true
}

// hasZeroSector tells whether a sector of these bytes, or the part of one at their ends, is all zero (G14).
func (s *segment) hasZeroSector(from, to int64) bool {
	for from < to {
		end := min(to, (from/sector+1)*sector)
		if s.zero(from, end) {
			return true
		}
		from = end
	}
	return false
}

// torn ends the log here.
func (s *segment) torn(kind uint64) error {
	if s.failed != nil {
		return s.failed
	}
	s.cut = &Cut{File: s.name, Offset: s.at, Bytes: s.size - s.at, Kind: kind}
	return io.EOF
}

// next reads a record. io.EOF is the end; s.cut tells whether it was torn.
func (s *segment) next() (record, error) {
	left := s.size - s.at
	head := s.bytes(s.at, 8)
	switch {
	case s.failed != nil:
		return record{}, s.failed
	case left == 0:
		return record{}, io.EOF
	case left < 8 || binary.LittleEndian.Uint64(head) == 0:
		return record{}, s.end(left)
	}
	word := binary.LittleEndian.Uint64(head)
	n, pad, ok := s.frame(word)
	if !ok || n > recordMax {
		if s.last && s.hasZeroSector(s.at, s.at+8) {
			return record{}, s.torn(0)
		}
		return record{}, s.damaged(s.at, fmt.Sprintf("the length of a record is %#x", word))
	}
	if n+pad > left-8 {
		return record{}, s.beyond(n)
	}
	return s.whole(n, pad)
}

// end is at a length of zero, or at less than a length.
func (s *segment) end(left int64) error {
	if s.zero(s.at, s.size) {
		return io.EOF
	}
	if s.last && (left < 8 || s.zero(s.at, min(s.size, (s.at/sector+1)*sector))) {
		return s.torn(0)
	}
	return s.damaged(s.at, "zeros where a record should begin, and more behind them")
}

// frame splits a length (G8). All records behind one with padding have it.
func (s *segment) frame(word uint64) (n, pad int64, ok bool) {
	n, top := int64(word&(1<<56-1)), word>>56
	odd := (8 - n%8) % 8
	switch {
	case top == 0:
		return n, 0, n > 0 && (odd == 0 || !s.padded)
	case top&^0x87 != 0 || top&0x80 == 0 || int64(top&7) != odd || odd == 0:
		return 0, 0, false
	}
	return n, odd, n > 0
}

// beyond is a record that the file has no room for: torn, if what is there is the beginning of such a record (G14).
func (s *segment) beyond(n int64) error {
	if !s.last {
		return s.damaged(s.at, fmt.Sprintf("a record of %d bytes goes beyond the end of the file, which is not the last one", n))
	}
	kind, length, known, ok := s.message(n)
	if s.failed != nil {
		return s.failed
	}
	if s.hasZeroSector(s.at+8, s.size) && (!known || length != n) && !s.follows(length, known) {
		return s.torn(kind)
	}
	if !ok || known && length != n {
		return s.damaged(s.at, fmt.Sprintf("a record's length is %d, but its message has another one", n))
	}
	return s.torn(kind)
}

// message reads the head of a message, of which the file may have a part only. length is what the message says of itself, if
// known. ok is false if no message begins so.
func (s *segment) message(n int64) (kind uint64, length int64, known, ok bool) {
	b := s.bytes(s.at+8, 32)
	short := s.size-(s.at+8) < 32
	at := 0
	varint := func(tag byte) (v uint64, whole, ok bool) {
		if at == len(b) {
			return 0, false, short
		}
		if b[at] != tag {
			return 0, false, false
		}
		v, size := protowire.ConsumeVarint(b[at+1:])
		if size < 0 {
			return 0, false, short && len(b)-at-1 < 10
		}
		at += 1 + size
		return v, true, true
	}
	kind, whole, ok := varint(0x08)
	if !whole || kind < kindMetadata || kind > kindMark {
		return kind, 0, false, ok && !whole
	}
	_, whole, ok = varint(0x10)
	if !whole {
		return kind, 0, false, ok
	}
	if at < len(b) && b[at] == 0x1a {
		data, whole, ok := varint(0x1a)
		if !whole {
			return kind, 0, false, ok
		}
		if data > recordMax {
			return kind, 0, false, false
		}
		return kind, int64(at) + int64(data), true, true
	}
	if kind == kindChecksum {
		return kind, int64(at), true, true
	}
	return kind, 0, false, at == len(b) && short
}

// whole reads a record of n bytes that are there.
func (s *segment) whole(n, pad int64) (record, error) {
	kind, length, known, _ := s.message(n)
	data, got, hasData, fine := parseRecord(s.bytes(s.at+8, n))
	if s.failed != nil {
		return record{}, s.failed
	}
	r := record{at: s.at, kind: got.kind, checksum: got.checksum, data: data, hasData: hasData}
	sum := s.running
	if fine && r.kind != kindChecksum {
		sum = crc32.Update(sum, castagnoli, data)
		fine = sum == r.checksum
	}
	if fine {
		s.running = sum
		if pad > 0 {
			s.padded = true
		}
		s.at = min(s.at+8+n+pad, s.size)
		return r, nil
	}
	if s.last && s.hasZeroSector(s.at, s.at+8+n) && !(known && length != n && s.follows(length, known)) {
		return record{}, s.torn(kind)
	}
	return record{}, s.damaged(s.at, "a record's checksum is wrong")
}

// follows tells whether a record is whole by the length that its message tells, or another one follows there: then the length
// before the message is wrong, and this is no torn end.
func (s *segment) follows(length int64, known bool) bool {
	if !known || length > s.size-s.at-8 {
		return false
	}
	data, got, _, fine := parseRecord(s.bytes(s.at+8, length))
	if fine && got.kind != kindChecksum && crc32.Update(s.running, castagnoli, data) == got.checksum {
		return true
	}
	for _, next := range []int64{s.at + 8 + length, s.at + 8 + (length+7)/8*8} {
		head := s.bytes(next, 8)
		if len(head) < 8 {
			continue
		}
		n := int64(binary.LittleEndian.Uint64(head) & (1<<56 - 1))
		if n <= 0 || n > recordMax || n > s.size-next-8 {
			continue
		}
		if _, _, _, fine := parseRecord(s.bytes(next+8, n)); fine {
			return true
		}
	}
	return false
}

// parseRecord reads a message (G9). It accepts nothing that the old servers would not write.
func parseRecord(b []byte) (data []byte, r record, hasData, ok bool) {
	f := fields{in: b}
	for f.next() {
		switch {
		case f.number == 1 && f.isVarint:
			r.kind = f.varint
		case f.number == 2 && f.isVarint && f.varint>>32 == 0:
			r.checksum = uint32(f.varint)
		case f.number == 3 && !f.isVarint:
			data, hasData = f.bytes, true
		default:
			return nil, r, false, false
		}
	}
	return data, r, hasData, !f.bad && r.kind >= kindMetadata && r.kind <= kindMark
}

// fields reads a protobuf message whose fields are varints and bytes, in the order of their numbers, which may repeat.
type fields struct {
	in       []byte
	number   protowire.Number
	isVarint bool
	varint   uint64
	bytes    []byte
	bad      bool
}

func (f *fields) next() bool {
	if len(f.in) == 0 || f.bad {
		return false
	}
	number, kind, n := protowire.ConsumeTag(f.in)
	if n < 0 || number < f.number {
		f.bad = true
		return false
	}
	f.number, f.in = number, f.in[n:]
	switch kind {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(f.in)
		f.isVarint, f.bytes = true, nil
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.in)
		f.isVarint = false
	default:
		n = -1
	}
	if n < 0 {
		f.bad = true
		return false
	}
	f.in = f.in[n:]
	return true
}
