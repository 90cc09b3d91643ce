package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// The numbers of the frame, drawn in the package comment. They are frozen: changing one makes a new format version.
const (
	sectorBytes      = 512
	frameAlign       = 8
	frameHeaderBytes = 24
	frameEndBytes    = 1
	frameMark        = 0xB53A // each byte has several bits set: no single flip makes it zero
	frameEnd         = 0xE7

	atCRC    = 0
	atCheck  = 4
	atLength = 8
	atIndex  = 12
	atKind   = 20
	atFlags  = 21
	atMark   = 22

	flagOpensBatch = 1
)

// castagnoli is the polynomial that processors have an instruction for; a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the decoded head of a frame.
type header struct {
	crc, check uint32
	length     uint32
	index      uint64
	kind       Kind
	flags      uint8
	mark       uint16
}

// frameBytes returns the size of a frame with a payload of length bytes, without the zeros behind it.
func frameBytes(length int64) int64 { return frameHeaderBytes + length + frameEndBytes }

// frameStart returns where the first frame at or behind an offset can begin.
func frameStart(offset int64) int64 {
	offset = roundUp(offset, frameAlign)
	if sectorBytes-offset%sectorBytes < frameHeaderBytes {
		return roundUp(offset, sectorBytes)
	}
	return offset
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// appendFrame adds a frame to a batch. seal fills in its checksums. Since a batch begins at a sector, frames have the same
// alignment in the batch and in the file.
func appendFrame(batch []byte, r Record) []byte {
	var flags uint8
	if len(batch) == 0 {
		flags = flagOpensBatch
	}
	var pad [sectorBytes]byte
	batch = append(batch, pad[:frameStart(int64(len(batch)))-int64(len(batch))]...)
	var h [frameHeaderBytes]byte
	binary.LittleEndian.PutUint32(h[atLength:], uint32(len(r.Payload)))
	binary.LittleEndian.PutUint64(h[atIndex:], r.Index)
	h[atKind] = byte(r.Kind)
	h[atFlags] = flags
	binary.BigEndian.PutUint16(h[atMark:], frameMark)
	batch = append(batch, h[:]...)
	batch = append(batch, r.Payload...)
	return append(batch, frameEnd)
}

// frames calls fn with each frame of a batch, and its offset there.
func frames(batch []byte, fn func(at int64, frame []byte)) {
	for at := int64(0); at < int64(len(batch)); {
		end := at + frameBytes(int64(binary.LittleEndian.Uint32(batch[at+atLength:])))
		fn(at, batch[at:end])
		at = frameStart(end)
	}
}

// seal fills in the checksums of a batch that will be written at this offset of a segment, and returns the last crc.
func seal(batch []byte, offset int64, seed, chain uint32) uint32 {
	frames(batch, func(at int64, frame []byte) {
		binary.LittleEndian.PutUint32(frame[atCheck:], headerCheck(frame, seed, offset+at))
		chain = frameCRC(frame, chain)
		binary.LittleEndian.PutUint32(frame[atCRC:], chain)
	})
	return chain
}

// headerCheck depends on segment and offset: neither an old frame nor one within a payload has the right check here.
func headerCheck(head []byte, seed uint32, offset int64) uint32 {
	return crc32.Update(seed^uint32(offset/frameAlign), castagnoli, head[atLength:frameHeaderBytes])
}

// frameCRC depends on all records before.
func frameCRC(frame []byte, chain uint32) uint32 {
	return crc32.Update(chain, castagnoli, frame[atCheck:])
}

func decodeHeader(b []byte) header {
	return header{
		crc:    binary.LittleEndian.Uint32(b[atCRC:]),
		check:  binary.LittleEndian.Uint32(b[atCheck:]),
		length: binary.LittleEndian.Uint32(b[atLength:]),
		index:  binary.LittleEndian.Uint64(b[atIndex:]),
		kind:   Kind(b[atKind]),
		flags:  b[atFlags],
		mark:   binary.BigEndian.Uint16(b[atMark:]),
	}
}

// validHeader reports whether this header was written, and for this offset of this segment.
func validHeader(b []byte, seed uint32, offset int64) bool {
	h := decodeHeader(b)
	return h.mark == frameMark && h.check == headerCheck(b, seed, offset)
}

func (h header) opensBatch() bool { return h.flags&flagOpensBatch != 0 }
