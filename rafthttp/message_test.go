package rafthttp

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

	"canopy/raft"
)

// randomMessage gives a message of any kind, with any contents that raft could send.
func randomMessage(rng *rand.Rand) raft.Message {
	number := func() uint64 { return rng.Uint64() >> rng.UintN(64) }
	term, index := raft.Term(number()), raft.Index(number())
	switch rng.IntN(15) {
	case 0:
		return raft.PreVote{Term: term, LastIndex: index, LastTerm: raft.Term(number())}
	case 1:
		return raft.PreVoteReply{Term: term, Granted: rng.IntN(2) == 0}
	case 2:
		return raft.Vote{Term: term, LastIndex: index, LastTerm: raft.Term(number()), Transfer: rng.IntN(2) == 0}
	case 3:
		return raft.VoteReply{Term: term, Granted: rng.IntN(2) == 0}
	case 4:
		return raft.AppendReply{Term: term, Match: index}
	case 5:
		return raft.AppendReject{Term: term, PrevIndex: index, HintIndex: raft.Index(number()), HintTerm: raft.Term(number())}
	case 6:
		return raft.Heartbeat{Term: term, Commit: index, Round: number()}
	case 7:
		return raft.HeartbeatReply{Term: term, Round: number(), Match: index, Received: raft.Index(number())}
	case 8:
		return raft.Commit{Term: term, Index: index}
	case 9:
		c := raft.Configuration{Voters: randomIDs(rng), Learners: randomIDs(rng)}
		return raft.Snapshot{Term: term, Meta: raft.SnapshotMeta{Index: index, Term: raft.Term(number()), Configuration: c}}
	case 10:
		return raft.ReadForward{Term: term, Batch: number()}
	case 11:
		return raft.ReadReply{Term: term, Batch: number(), Index: index}
	case 12:
		return raft.TimeoutNow{Term: term}
	case 13:
		return raft.Stale{Term: term}
	}
	return randomAppend(rng, term, index, rng.IntN(30), 200)
}

func randomIDs(rng *rand.Rand) []raft.MemberID {
	var ids []raft.MemberID
	for range rng.IntN(4) {
		ids = append(ids, raft.MemberID(rng.Uint64()))
	}
	return ids
}

func randomAppend(rng *rand.Rand, term raft.Term, prev raft.Index, count, bytesMax int) raft.Append {
	m := raft.Append{Term: term, PrevIndex: prev, PrevTerm: raft.Term(rng.Uint64N(100)), Commit: raft.Index(rng.Uint64())}
	at := raft.Term(rng.Uint64N(100))
	for i := range count {
		if rng.IntN(5) == 0 {
			at += raft.Term(rng.Uint64N(3))
		}
		e := raft.Entry{Index: prev + raft.Index(i) + 1, Term: at}
		if rng.IntN(4) == 0 {
			e.Type = raft.EntryConfChange
		}
		if n := rng.IntN(bytesMax + 1); n > 0 {
			e.Data = make([]byte, n)
			for i := range e.Data {
				e.Data[i] = byte(rng.Uint32())
			}
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

func readerOf(r io.Reader) *frameReader { return &frameReader{r: bufio.NewReaderSize(r, 512)} }

func TestMessagesAreDecodedUnchanged(t *testing.T) {
	for _, seed := range seeds(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var e encoder
		var d decoder
		var b []byte
		var want []raft.Message
		for range 300 {
			msg := randomMessage(rng)
			var ok bool
			if b, ok = e.append(b, msg); !ok {
				t.Fatalf("-seed %d: %#v cannot be sent", seed, msg)
			}
			want = append(want, msg)
		}
		frames := readerOf(bytes.NewReader(b))
		for i := range want {
			k, payload, err := frames.next()
			if err != nil {
				t.Fatalf("-seed %d: frame %d: %v", seed, i, err)
			}
			got, err := d.message(k, payload)
			if err != nil {
				t.Fatalf("-seed %d: message %d: %v", seed, i, err)
			}
			if diff := cmp.Diff(want[i], got); diff != "" {
				t.Fatalf("-seed %d: message %d, want - got +:\n%s", seed, i, diff)
			}
		}
		if _, _, err := frames.next(); err != io.EOF {
			t.Fatalf("-seed %d: after the last frame: %v", seed, err)
		}
	}
}

func TestEntriesUseTheFramesMemory(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 3<<20)
	var e encoder
	b, ok := e.append(nil, raft.Append{Term: 1, Entries: []raft.Entry{{Index: 1, Term: 1, Data: data}}})
	if !ok {
		t.Fatal("it cannot be sent")
	}
	k, payload, err := readerOf(bytes.NewReader(b)).next()
	if err != nil {
		t.Fatal(err)
	}
	var d decoder
	msg, err := d.message(k, payload)
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
		var e encoder
		if b, ok := e.append([]byte("before"), raft.Append{Term: 1, Entries: entries}); ok || string(b) != "before" {
			t.Errorf("too many %s: %d bytes, %v", name, len(b), ok)
		}
	}
}

// frameOf is a frame with a correct checksum and any contents.
func frameOf(k kind, payload []byte) []byte {
	return endFrame(append(beginFrame(nil, k), payload...), 0)
}

func TestMalformedFramesAreRefused(t *testing.T) {
	good := frameOf(kindStale, []byte{8, 1})
	badSum := bytes.Clone(good)
	badSum[5] ^= 1
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint32(huge, smallBytesMax+1)
	absurd := frameOf(kindAppend, nil)
	binary.LittleEndian.PutUint32(absurd, 1<<32-1)
	for name, b := range map[string][]byte{
		"checksum": badSum, "kind 0": frameOf(0, nil), "kind 255": frameOf(255, nil), "between the kinds": frameOf(7, nil),
		"too long": huge, "much too long": absurd,
	} {
		if k, payload, err := readerOf(bytes.NewReader(b)).next(); !errors.As(err, new(*malformed)) {
			t.Errorf("%s: read as kind %d, %d bytes, %v", name, k, len(payload), err)
		}
	}
	for n := 1; n < len(good); n++ {
		if _, _, err := readerOf(bytes.NewReader(good[:n])).next(); err != io.ErrUnexpectedEOF {
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
		var d decoder
		if msg, err := d.message(kindAppend, payload); !errors.As(err, new(*malformed)) {
			t.Errorf("%s: read as %v, %v", name, msg, err)
		}
	}
	for k := range kind(64) {
		if k.limit() != smallBytesMax {
			continue
		}
		var d decoder
		if msg, err := d.message(k, []byte{255}); !errors.As(err, new(*malformed)) {
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
	b := frameOf(kindAppend, bytes.Repeat([]byte{1}, 1000))
	binary.LittleEndian.PutUint32(b, appendBytesMax)
	frames := readerOf(iotest.OneByteReader(bytes.NewReader(b)))
	used := allocated(func() {
		if _, _, err := frames.next(); err != io.ErrUnexpectedEOF {
			t.Errorf("a frame that is cut: %v", err)
		}
	})
	if used > 2*firstChunkBytes {
		t.Errorf("%d bytes of memory for %d that came", used, len(b))
	}
}

func FuzzFrames(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	var e encoder
	for range 40 {
		b, _ := e.append(nil, randomMessage(rng))
		f.Add(b)
	}
	f.Add(appendPing(appendEnvelope(nil, []byte("envelope")), kindPing, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := readerOf(bytes.NewReader(b))
		var d decoder
		for {
			k, payload, err := frames.next()
			if err != nil {
				return
			}
			if len(payload) > len(b) {
				t.Fatalf("a payload of %d bytes out of %d", len(payload), len(b))
			}
			_, _ = d.message(k, payload)
		}
	})
}

// FuzzMessage decodes payloads of all kinds, and checks that a decoded message can be encoded and decoded again.
func FuzzMessage(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 3))
	var e encoder
	for range 40 {
		b, _ := e.append(nil, randomMessage(rng))
		f.Add(b[8], b[frameHead:])
	}
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		var d decoder
		msg, err := d.message(kind(k), payload)
		if err != nil {
			return
		}
		var e encoder
		b, ok := e.append(nil, msg)
		if !ok {
			t.Fatalf("%#v was received and cannot be sent", msg)
		}
		again, err := d.message(kind(k), b[frameHead:])
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
			var e encoder
			var buf []byte
			for b.Loop() {
				buf, _ = e.append(buf[:0], msg)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, msg := range benchmarked {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e encoder
			buf, _ := e.append(nil, msg)
			var d decoder
			r := bytes.NewReader(buf)
			frames := &frameReader{r: bufio.NewReaderSize(r, logBuffer)}
			for b.Loop() {
				r.Reset(buf)
				frames.r.Reset(r)
				k, payload, err := frames.next()
				if err == nil {
					_, err = d.message(k, payload)
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
	var d decoder
	for range 3 {
		msg, err := d.message(kindStale, []byte{8, 7, 0xba, 1, 3, 'n', 'e', 'w', 0xc0, 1, 9})
		if err != nil || msg != (raft.Stale{Term: 7}) {
			t.Errorf("read as %v, %v", msg, err)
		}
	}
}

func TestHeartbeatsAreDecodedWithoutCopies(t *testing.T) {
	var e encoder
	b, _ := e.append(nil, raft.Heartbeat{Term: 5, Commit: 1000, Round: 7})
	var d decoder
	r := bytes.NewReader(b)
	frames := readerOf(r)
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(b)
		frames.r.Reset(r)
		k, payload, err := frames.next()
		if err == nil {
			_, err = d.message(k, payload)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations, the message itself is one", n)
	}
	buf := make([]byte, 0, 1024)
	heartbeat := raft.Message(raft.Heartbeat{Term: 5})
	if n := testing.AllocsPerRun(100, func() { buf, _ = e.append(buf[:0], heartbeat) }); n > 0 {
		t.Errorf("%v allocations to encode it", n)
	}
}
