package snap

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"canopy/internal/disk"
)

// The numbers of the format drawn in the package comment. They are frozen: changing one makes a new version.
const (
	magic         = "CanopySn"
	formatVersion = 1
	headerBytes   = 32
	frameBytes    = 8 // length and crc of a block
	blockBytesMax = 1 << 20
	footerBytes   = frameBytes + 24
)

// castagnoli is the polynomial that processors have an instruction for; a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeHeader(m Meta) []byte {
	b := make([]byte, headerBytes)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], m.Term)
	binary.LittleEndian.PutUint64(b[24:], m.Index)
	binary.LittleEndian.PutUint32(b[12:], headerSum(b))
	return b
}

func headerSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:headerBytes])
}

// blockWriter writes a stream as blocks. After the first error it writes no more.
type blockWriter struct {
	file   disk.File
	at     int64  // offset of the block that is being filled
	sum    uint32 // crc of the part before it
	buf    []byte // frame and bytes of that block; frameBytes <= len(buf) <= frameBytes+blockBytesMax
	blocks uint64
	bytes  uint64
	err    error
}

func newBlockWriter(f disk.File, m Meta) *blockWriter {
	head := encodeHeader(m)
	w := &blockWriter{file: f, at: headerBytes, sum: headerSum(head), buf: make([]byte, frameBytes, frameBytes+blockBytesMax)}
	_, w.err = f.WriteAt(head, 0)
	return w
}

// Write implements io.Writer.
func (w *blockWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
		if w.err != nil {
			return n, w.err
		}
		room := min(cap(w.buf)-len(w.buf), len(p)-n)
		w.buf = append(w.buf, p[n:n+room]...)
		n += room
	}
	return n, nil
}

// flush writes the block that is being filled, if it has any bytes.
func (w *blockWriter) flush() {
	n := len(w.buf) - frameBytes
	if w.err != nil || n == 0 {
		return
	}
	w.put(uint32(n))
	w.blocks++
	w.bytes += uint64(n)
	w.buf = w.buf[:frameBytes]
}

// put fills in the frame of buf, and writes buf.
func (w *blockWriter) put(length uint32) {
	binary.LittleEndian.PutUint32(w.buf, length)
	w.sum = partSum(w.buf, w.sum)
	binary.LittleEndian.PutUint32(w.buf[4:], w.sum)
	_, w.err = w.file.WriteAt(w.buf, w.at)
	w.at += int64(len(w.buf))
}

// finish writes the last block and the footer.
func (w *blockWriter) finish(plain uint64) error {
	w.flush()
	if w.err != nil {
		return w.err
	}
	w.buf = binary.LittleEndian.AppendUint64(w.buf[:frameBytes], w.blocks)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, w.bytes)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, plain)
	w.put(0)
	return w.err
}

// partSum is the crc of a block or the footer: of its length and its bytes.
func partSum(b []byte, before uint32) uint32 {
	return crc32.Update(crc32.Update(before, castagnoli, b[:4]), castagnoli, b[frameBytes:])
}

// blockReader reads the stream back. It ends with io.EOF only after a good footer, and with another error otherwise. After
// that it reads no more.
type blockReader struct {
	file   disk.File
	name   string
	size   int64
	at     int64
	sum    uint32
	buf    []byte
	rest   []byte // of buf: what Read did not return yet
	blocks uint64
	bytes  uint64
	plain  uint64 // plain bytes, from the footer
	err    error
}

func newBlockReader(f disk.File, name string, m Meta) (*blockReader, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("snap: size of %s: %w", name, err)
	}
	r := &blockReader{file: f, name: name, size: size}
	var b [headerBytes]byte
	if err := r.fill(b[:]); err != nil {
		return nil, err
	}
	switch {
	case string(b[:8]) != magic:
		return nil, r.corrupt(0, "it does not begin like a snapshot")
	case binary.LittleEndian.Uint32(b[8:]) > formatVersion:
		return nil, fmt.Errorf("snap: %s: format %d, this program knows formats up to %d: %w", name, binary.LittleEndian.Uint32(b[8:]),
			formatVersion, ErrNewerFormat)
	case binary.LittleEndian.Uint32(b[12:]) != headerSum(b[:]):
		return nil, r.corrupt(0, "the checksum of its header is wrong")
	case binary.LittleEndian.Uint64(b[16:]) != m.Term || binary.LittleEndian.Uint64(b[24:]) != m.Index:
		return nil, r.corrupt(16, "its header belongs to a file of another name")
	}
	r.sum = headerSum(b[:])
	return r, nil
}

// Read implements io.Reader.
func (r *blockReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads a block, or the footer, after which it returns io.EOF.
func (r *blockReader) next() error {
	begin := r.at
	var frame [frameBytes]byte
	if err := r.fill(frame[:]); err != nil {
		return err
	}
	claimed := binary.LittleEndian.Uint32(frame[:])
	if claimed > blockBytesMax { // before the conversion to int, which may have 32 bits
		return r.corrupt(begin, fmt.Sprintf("a block claims %d bytes, at most %d are possible", claimed, blockBytesMax))
	}
	length := int(claimed)
	bytes := length
	if length == 0 {
		bytes = footerBytes - frameBytes
	}
	if int64(bytes) > r.size-r.at {
		return r.corrupt(r.size, "the file ends within a block")
	}
	if cap(r.buf) < frameBytes+bytes {
		r.buf = make([]byte, frameBytes+bytes, min(frameBytes+blockBytesMax, max(frameBytes+int64(bytes), r.size)))
	}
	r.buf = r.buf[:frameBytes+bytes]
	copy(r.buf, frame[:])
	if err := r.fill(r.buf[frameBytes:]); err != nil {
		return err
	}
	if r.sum = partSum(r.buf, r.sum); r.sum != binary.LittleEndian.Uint32(frame[4:]) {
		return r.corrupt(begin, "the checksum of a block is wrong")
	}
	if length == 0 {
		return r.end(begin)
	}
	r.blocks++
	r.bytes += uint64(length)
	r.rest = r.buf[frameBytes:]
	return nil
}

// end compares the footer with what was read.
func (r *blockReader) end(begin int64) error {
	b := r.buf[frameBytes:]
	if binary.LittleEndian.Uint64(b) != r.blocks || binary.LittleEndian.Uint64(b[8:]) != r.bytes {
		return r.corrupt(begin, "its footer counts other blocks")
	}
	if r.at != r.size {
		return r.corrupt(r.at, fmt.Sprintf("%d bytes follow its end", r.size-r.at))
	}
	r.plain = binary.LittleEndian.Uint64(b[16:])
	return io.EOF
}

// fill reads the next bytes of the file.
func (r *blockReader) fill(p []byte) error {
	if int64(len(p)) > r.size-r.at {
		return r.corrupt(r.size, "the file ends too early")
	}
	if n, err := r.file.ReadAt(p, r.at); n < len(p) {
		return fmt.Errorf("snap: read %s: %w", r.name, unexpected(err))
	}
	r.at += int64(len(p))
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *blockReader) corrupt(offset int64, reason string) error {
	return &CorruptError{File: r.name, Offset: offset, Reason: reason}
}
