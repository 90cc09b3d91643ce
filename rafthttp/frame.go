package rafthttp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The numbers of the format drawn in the package comment, in version 1 of the protocol. They are frozen.
const (
	frameHead        = 9        // length, crc and kind
	pingBytes        = 8        // of a ping and its pong: a number that only the sender of the ping interprets
	smallBytesMax    = 64 << 10 // payload of a message without entries
	envelopeBytesMax = 32 << 20
	appendBytesMax   = 40 << 20
	appendHead       = 4        // length of an append's message
	appendHeadMax    = 2 << 20  // bytes of an append's message
	entriesMax       = 64 << 10 // in one append; raft counts 64 bytes for each, of 1 MiB
	firstChunkBytes  = 256 << 10
	chunkGrowth      = 8 // so that a full append of raft is copied once
)

// kind tells what the payload of a frame is.
type kind byte

const (
	kindPing           kind = 1
	kindPong           kind = 2
	kindEnvelope       kind = 3
	kindPreVote        kind = 16
	kindPreVoteReply   kind = 17
	kindVote           kind = 18
	kindVoteReply      kind = 19
	kindAppend         kind = 20
	kindAppendReply    kind = 21
	kindAppendReject   kind = 22
	kindHeartbeat      kind = 23
	kindHeartbeatReply kind = 24
	kindCommit         kind = 25
	kindSnapshot       kind = 26
	kindReadForward    kind = 27
	kindReadReply      kind = 28
	kindTimeoutNow     kind = 29
	kindStale          kind = 30
)

// limit is the largest payload in bytes; -1: there is no such kind.
func (k kind) limit() int {
	switch {
	case k == kindPing, k == kindPong:
		return pingBytes
	case k == kindEnvelope:
		return envelopeBytesMax
	case k == kindAppend:
		return appendBytesMax
	case kindPreVote <= k && k <= kindStale:
		return smallBytesMax
	}
	return -1
}

// keeps tells whether the decoded payload uses its memory.
func (k kind) keeps() bool { return k == kindAppend || k == kindEnvelope }

// malformed tells that a peer sent invalid data. It closes the connection.
type malformed struct{ what string }

// Error names the fault.
func (e *malformed) Error() string { return "malformed: " + e.what }

// castagnoli is the polynomial that processors support; a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends space for a frame's head.
func beginFrame(b []byte, k kind) []byte { return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(k)) }

// endFrame fills in the head of the frame that begins at start and ends with b.
func endFrame(b []byte, start int) []byte {
	frame := b[start:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[4:], frameSum(frame, frame[frameHead:]))
	return b
}

func frameSum(head, payload []byte) uint32 {
	sum := crc32.Checksum(head[:4], castagnoli)
	sum = crc32.Update(sum, castagnoli, head[8:frameHead])
	return crc32.Update(sum, castagnoli, payload)
}

// appendPing appends a ping, or the pong to it.
func appendPing(b []byte, k kind, number uint64) []byte {
	start := len(b)
	return endFrame(binary.LittleEndian.AppendUint64(beginFrame(b, k), number), start)
}

// appendEnvelope appends an envelope.
func appendEnvelope(b, envelope []byte) []byte {
	start := len(b)
	return endFrame(append(beginFrame(b, kindEnvelope), envelope...), start)
}

// frameReader reads frames. It never holds more of a frame than has arrived, and a chunk.
type frameReader struct {
	r       *bufio.Reader
	head    [frameHead]byte
	scratch []byte // payload of the kinds that do not keep it
}

// next waits for a frame. Its payload is valid until the next call, unless the kind keeps it. The error is io.EOF between
// frames, io.ErrUnexpectedEOF within one, *malformed, or the reader's.
func (f *frameReader) next() (kind, []byte, error) {
	head, err := f.r.Peek(frameHead)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	k, length := kind(head[8]), binary.LittleEndian.Uint32(head)
	switch limit := k.limit(); {
	case limit < 0:
		return 0, nil, &malformed{fmt.Sprintf("a frame of kind %d", k)}
	case uint64(length) > uint64(limit):
		return 0, nil, &malformed{fmt.Sprintf("a frame of kind %d with %d bytes, at most %d are possible", k, length, limit)}
	}
	copy(f.head[:], head)
	if _, err := f.r.Discard(frameHead); err != nil {
		return 0, nil, err
	}
	payload, err := f.payload(k, int(length))
	if err != nil {
		return 0, nil, err
	}
	if frameSum(f.head[:], payload) != binary.LittleEndian.Uint32(f.head[4:]) {
		return 0, nil, &malformed{fmt.Sprintf("a frame of kind %d whose checksum is wrong", k)}
	}
	return k, payload, nil
}

// payload reads the bytes of a frame. Its memory grows as they arrive.
func (f *frameReader) payload(k kind, length int) ([]byte, error) {
	var b []byte
	if k.keeps() {
		b = make([]byte, min(length, firstChunkBytes))
	} else {
		if cap(f.scratch) < length {
			f.scratch = make([]byte, length)
		}
		b = f.scratch[:length]
	}
	for have := 0; ; {
		n, err := io.ReadFull(f.r, b[have:])
		have += n
		if err == io.EOF && have < length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || have == length {
			return b, err
		}
		grown := make([]byte, min(length, chunkGrowth*len(b)))
		copy(grown, b)
		b = grown
	}
}

// ready tells that a whole frame has arrived, so that next does not wait.
func (f *frameReader) ready() bool {
	n := f.r.Buffered()
	if n < frameHead {
		return false
	}
	head, err := f.r.Peek(4)
	return err == nil && uint64(binary.LittleEndian.Uint32(head)) <= uint64(n-frameHead)
}

// pingNumber reads the number of a ping or pong.
func pingNumber(payload []byte) (uint64, error) {
	if len(payload) != pingBytes {
		return 0, &malformed{"a ping without its number"}
	}
	return binary.LittleEndian.Uint64(payload), nil
}
