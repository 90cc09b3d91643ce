package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/rng"
	"canopy/raft"
	"canopy/rafthttp/wire/wiretest"
)

func readerOf(r io.Reader) *Reader {
	frames := NewReader(bufio.NewReaderSize(r, 512))
	return &frames
}

func TestMessagesAreDecodedUnchanged(t *testing.T) {
	random := rng.New(t)
	for range 5 {
		var e Encoder
		var d Decoder
		var b []byte
		var want []raft.Message
		for range 300 {
			msg := wiretest.RandomMessage(random)
			var ok bool
			if b, ok = e.Append(b, msg); !ok {
				t.Fatalf("%#v cannot be sent", msg)
			}
			want = append(want, msg)
		}
		frames := readerOf(bytes.NewReader(b))
		for i := range want {
			k, payload, err := frames.Next()
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			got, err := d.Message(k, payload)
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			if diff := cmp.Diff(want[i], got); diff != "" {
				t.Fatalf("message %d, want - got +:\n%s", i, diff)
			}
		}
		if _, _, err := frames.Next(); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
	}
}

func TestEntriesUseTheFramesMemory(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 3<<20)
	var e Encoder
	b, ok := e.Append(nil, raft.Append{Term: 1, Entries: []raft.Entry{{Index: 1, Term: 1, Data: data}}})
	if !ok {
		t.Fatal("it cannot be sent")
	}
	k, payload, err := readerOf(bytes.NewReader(b)).Next()
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	msg, err := d.Message(k, payload)
	if err != nil {
		t.Fatal(err)
	}
	if got := msg.(raft.Append).Entries[0].Data; &got[0] != &payload[len(payload)-len(data)] || cap(got) != len(data) {
		t.Errorf("the entry has memory of its own, or too much: %d bytes", cap(got))
	}
}

func TestAnOversizedMessageIsNotSent(t *testing.T) {
	huge := make([]byte, appendBytesMax)
	many := make([]raft.Entry, entriesMax+1)
	for name, entries := range map[string][]raft.Entry{"bytes": {{Index: 1, Term: 1, Data: huge}}, "entries": many} {
		var e Encoder
		if b, ok := e.Append([]byte("before"), raft.Append{Term: 1, Entries: entries}); ok || string(b) != "before" {
			t.Errorf("too many %s: %d bytes, %v", name, len(b), ok)
		}
	}
}

func TestMalformedFramesAreRefused(t *testing.T) {
	good := wiretest.Frame(byte(KindStale), []byte{8, 1})
	badSum := bytes.Clone(good)
	badSum[5] ^= 1
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint32(huge, smallBytesMax+1)
	absurd := wiretest.Frame(byte(KindAppend), nil)
	binary.LittleEndian.PutUint32(absurd, 1<<32-1)
	for name, b := range map[string][]byte{
		"checksum": badSum, "kind 0": wiretest.Frame(0, nil), "kind 255": wiretest.Frame(255, nil), "between the kinds": wiretest.Frame(7, nil),
		"too long": huge, "much too long": absurd,
	} {
		if k, payload, err := readerOf(bytes.NewReader(b)).Next(); !errors.As(err, new(*Malformed)) {
			t.Errorf("%s: read as kind %d, %d bytes, %v", name, k, len(payload), err)
		}
	}
	for n := 1; n < len(good); n++ {
		if _, _, err := readerOf(bytes.NewReader(good[:n])).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	head := func(sizes, runs []uint64) []byte {
		var m []byte
		for field, list := range map[byte][]uint64{8<<3 | 2: runs, 9<<3 | 2: sizes} {
			var packed []byte
			for _, n := range list {
				packed = binary.AppendUvarint(packed, n)
			}
			m = append(append(m, field, byte(len(packed))), packed...)
		}
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(m))), m...)
	}
	for name, payload := range map[string][]byte{
		"no length":             {1, 0, 0},
		"length beyond":         {9, 0, 0, 0, 8, 1},
		"no protobuf":           {2, 0, 0, 0, 255, 255},
		"sizes beyond the data": head([]uint64{2}, []uint64{1, 0, 1}),
		"data without entries":  append(head(nil, nil), 'x'),
		"entries without runs":  head([]uint64{0}, nil),
		"runs without entries":  head(nil, []uint64{1, 0, 1}),
		"half a run":            head([]uint64{0}, []uint64{1, 0}),
		"absurd count":          head([]uint64{0}, []uint64{1, 0, 1 << 63}),
		"type beyond a byte":    head([]uint64{0}, []uint64{1, 256, 1}),
		"counts that overflow":  head([]uint64{0, 0}, []uint64{1, 0, 1, 1, 0, 1<<64 - 1}),
		"sizes that overflow":   head([]uint64{1<<32 - 1, 1<<32 - 1}, []uint64{1, 0, 2}),
	} {
		var d Decoder
		if msg, err := d.Message(KindAppend, payload); !errors.As(err, new(*Malformed)) {
			t.Errorf("%s: read as %v, %v", name, msg, err)
		}
	}
	for k := range Kind(64) {
		if k.limit() != smallBytesMax {
			continue
		}
		var d Decoder
		if msg, err := d.Message(k, []byte{255}); !errors.As(err, new(*Malformed)) {
			t.Errorf("kind %d: garbage was read as %v, %v", k, msg, err)
		}
	}
}

// allocated is how many bytes of memory f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestClaimedLengthCostsNoMemory(t *testing.T) {
	b := wiretest.Frame(byte(KindAppend), bytes.Repeat([]byte{1}, 1000))
	binary.LittleEndian.PutUint32(b, appendBytesMax)
	frames := readerOf(iotest.OneByteReader(bytes.NewReader(b)))
	used := allocated(func() {
		if _, _, err := frames.Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("a frame that is cut: %v", err)
		}
	})
	if used > 2*firstChunkBytes {
		t.Errorf("%d bytes of memory for %d that came", used, len(b))
	}
}

func FuzzFrames(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	var e Encoder
	for range 40 {
		b, _ := e.Append(nil, wiretest.RandomMessage(random))
		f.Add(b)
	}
	f.Add(AppendPing(AppendEnvelope(nil, []byte("envelope")), KindPing, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := readerOf(bytes.NewReader(b))
		var d Decoder
		for {
			k, payload, err := frames.Next()
			if err != nil {
				return
			}
			if len(payload) > len(b) {
				t.Fatalf("a payload of %d bytes out of %d", len(payload), len(b))
			}
			_, _ = d.Message(k, payload)
		}
	})
}

// FuzzMessage decodes payloads of all kinds, and checks that a decoded message can be encoded and decoded again.
func FuzzMessage(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 3))
	var e Encoder
	for range 40 {
		b, _ := e.Append(nil, wiretest.RandomMessage(random))
		f.Add(b[8], b[FrameHead:])
	}
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		var d Decoder
		msg, err := d.Message(Kind(k), payload)
		if err != nil {
			return
		}
		var e Encoder
		b, ok := e.Append(nil, msg)
		if !ok {
			t.Fatalf("%#v was received and cannot be sent", msg)
		}
		again, err := d.Message(Kind(k), b[FrameHead:])
		if diff := cmp.Diff(msg, again); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func benchmarkAppend(count, size int) raft.Append {
	m := raft.Append{Term: 5, PrevIndex: 1000, PrevTerm: 5, Commit: 999}
	for i := range count {
		m.Entries = append(m.Entries, raft.Entry{Index: 1001 + raft.Index(i), Term: 5, Data: make([]byte, size)})
	}
	return m
}

var benchmarked = map[string]raft.Message{
	"heartbeat":     raft.Heartbeat{Term: 5, Commit: 1000, Round: 7},
	"append 1x256":  benchmarkAppend(1, 256),
	"append 64x256": benchmarkAppend(64, 256),
	"append 1 MiB":  benchmarkAppend(1, 1<<20),
}

func BenchmarkEncode(b *testing.B) {
	for name, msg := range benchmarked {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e Encoder
			var buf []byte
			for b.Loop() {
				buf, _ = e.Append(buf[:0], msg)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, msg := range benchmarked {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e Encoder
			buf, _ := e.Append(nil, msg)
			var d Decoder
			r := bytes.NewReader(buf)
			frames := NewReader(bufio.NewReaderSize(r, 64<<10))
			for b.Loop() {
				r.Reset(buf)
				frames.r.Reset(r)
				k, payload, err := frames.Next()
				if err == nil {
					_, err = d.Message(k, payload)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

// R40: a member of a later version may send more fields.
func TestNewerFieldsAreSkipped(t *testing.T) {
	var d Decoder
	for range 3 {
		msg, err := d.Message(KindStale, []byte{8, 7, 0xba, 1, 3, 'n', 'e', 'w', 0xc0, 1, 9})
		if err != nil || msg != (raft.Stale{Term: 7}) {
			t.Errorf("read as %v, %v", msg, err)
		}
	}
}

func TestHeartbeatsAreDecodedWithoutCopies(t *testing.T) {
	var e Encoder
	b, _ := e.Append(nil, raft.Heartbeat{Term: 5, Commit: 1000, Round: 7})
	var d Decoder
	r := bytes.NewReader(b)
	frames := readerOf(r)
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(b)
		frames.r.Reset(r)
		k, payload, err := frames.Next()
		if err == nil {
			_, err = d.Message(k, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations, the message itself is one", n)
	}
	buf := make([]byte, 0, 1024)
	heartbeat := raft.Message(raft.Heartbeat{Term: 5})
	if n := testing.AllocsPerRun(100, func() { buf, _ = e.Append(buf[:0], heartbeat) }); n > 0 {
		t.Errorf("%v allocations to encode it", n)
	}
}
