package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The numbers of the format that the package comment draws, in version 1 of the protocol. They are frozen.
const (
	FrameHead        = 9 // length, crc and kind
	EnvelopeBytesMax = 32 << 20
	pingBytes        = 8        // of a ping and its pong: a number that only the sender of the ping interprets
	smallBytesMax    = 64 << 10 // payload of a message without entries
	appendBytesMax   = 40 << 20
	appendHead       = 4        // length of an append's message
	appendHeadMax    = 2 << 20  // bytes of an append's message
	entriesMax       = 64 << 10 // in one append; raft counts 64 bytes for each, of 1 MiB
	firstChunkBytes  = 256 << 10
	chunkGrowth      = 8 // so that a full append of raft is copied once
)

// Kind tells what the payload of a frame is.
type Kind byte

// The kinds of frames.
const (
	KindPing           Kind = 1
	KindPong           Kind = 2
	KindEnvelope       Kind = 3
	KindPreVote        Kind = 16
	KindPreVoteReply   Kind = 17
	KindVote           Kind = 18
	KindVoteReply      Kind = 19
	KindAppend         Kind = 20
	KindAppendReply    Kind = 21
	KindAppendReject   Kind = 22
	KindHeartbeat      Kind = 23
	KindHeartbeatReply Kind = 24
	KindCommit         Kind = 25
	KindSnapshot       Kind = 26
	KindReadForward    Kind = 27
	KindReadReply      Kind = 28
	KindTimeoutNow     Kind = 29
	KindStale          Kind = 30
)

// limit is the largest payload in bytes; -1: there is no such kind.
func (k Kind) limit() int {
	switch {
	case k == KindPing, k == KindPong:
		return pingBytes
	case k == KindEnvelope:
		return EnvelopeBytesMax
	case k == KindAppend:
		return appendBytesMax
	case KindPreVote <= k && k <= KindStale:
		return smallBytesMax
	}
	return -1
}

// keeps tells whether the decoded payload uses its memory.
func (k Kind) keeps() bool { return k == KindAppend || k == KindEnvelope }

// castagnoli is the polynomial that processors support; a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends space for a frame's head.
func beginFrame(b []byte, k Kind) []byte { return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(k)) }

// endFrame fills in the head of the frame that begins at start and ends with b.
func endFrame(b []byte, start int) []byte {
	frame := b[start:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-FrameHead))
	binary.LittleEndian.PutUint32(frame[4:], frameSum(frame, frame[FrameHead:]))
	return b
}

func frameSum(head, payload []byte) uint32 {
	sum := crc32.Checksum(head[:4], castagnoli)
	sum = crc32.Update(sum, castagnoli, head[8:FrameHead])
	return crc32.Update(sum, castagnoli, payload)
}

// AppendPing appends a ping, or the pong to it.
func AppendPing(b []byte, k Kind, number uint64) []byte {
	start := len(b)
	return endFrame(binary.LittleEndian.AppendUint64(beginFrame(b, k), number), start)
}

// AppendEnvelope appends an envelope.
func AppendEnvelope(b, envelope []byte) []byte {
	start := len(b)
	return endFrame(append(beginFrame(b, KindEnvelope), envelope...), start)
}

// A Reader reads frames. It never holds more of a frame than has arrived, and a chunk.
type Reader struct {
	r       *bufio.Reader
	head    [FrameHead]byte
	scratch []byte // payload of the kinds that do not keep it
}

// NewReader makes a reader of the frames that come from r.
func NewReader(r *bufio.Reader) Reader { return Reader{r: r} }

// Next waits for a frame. Its payload is valid until the next call, unless the kind keeps it. The error is io.EOF between
// frames, io.ErrUnexpectedEOF within one, *Malformed, or the reader's.
func (f *Reader) Next() (Kind, []byte, error) {
	head, err := f.r.Peek(FrameHead)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	k, length := Kind(head[8]), binary.LittleEndian.Uint32(head)
	switch limit := k.limit(); {
	case limit < 0:
		return 0, nil, &Malformed{fmt.Sprintf("a frame of kind %d", k)}
	case uint64(length) > uint64(limit):
		return 0, nil, &Malformed{fmt.Sprintf("a frame of kind %d with %d bytes, at most %d are possible", k, length, limit)}
	}
	copy(f.head[:], head)
	if _, err := f.r.Discard(FrameHead); err != nil {
		return 0, nil, err
	}
	payload, err := f.payload(k, int(length))
	if err != nil {
		return 0, nil, err
	}
	if frameSum(f.head[:], payload) != binary.LittleEndian.Uint32(f.head[4:]) {
		return 0, nil, &Malformed{fmt.Sprintf("a frame of kind %d whose checksum is wrong", k)}
	}
	return k, payload, nil
}

// payload reads the bytes of a frame. Its memory grows as they arrive.
func (f *Reader) payload(k Kind, length int) ([]byte, error) {
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

// Ready tells that a whole frame has arrived, so that Next does not wait.
func (f *Reader) Ready() bool {
	n := f.r.Buffered()
	if n < FrameHead {
		return false
	}
	head, err := f.r.Peek(4)
	return err == nil && uint64(binary.LittleEndian.Uint32(head)) <= uint64(n-FrameHead)
}

// PingNumber reads the number of a ping or pong.
func PingNumber(payload []byte) (uint64, error) {
	if len(payload) != pingBytes {
		return 0, &Malformed{"a ping without its number"}
	}
	return binary.LittleEndian.Uint64(payload), nil
}
