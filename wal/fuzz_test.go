package wal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

const firstName = "/wal/0000000000000000-0000000000000000.wal"

// openBytes opens a log of which the first segment has these bytes. It must not panic, nor take memory beyond what the
// bytes and the limits justify, and what it refuses it must leave as it is.
func openBytes(t *testing.T, b []byte) ([]rec, error) {
	t.Helper()
	m := disk.NewMem()
	if err := m.MkdirAll("/wal"); err != nil {
		t.Fatal(err)
	}
	setContent(t, m, firstName, b)
	l, _, err := Open(m, "/wal", small)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var got []rec
	err = l.Replay(0, func(k Kind, index uint64, p []byte) error {
		got = append(got, rec{k, index, string(p)})
		return nil
	})
	var corrupt *CorruptError
	if errors.As(err, &corrupt) && string(contentOf(t, m, firstName)) != string(b) {
		t.Errorf("a refused log was changed: %v", err)
	}
	return got, err
}

// sealed gives bytes the right checksums, wherever they look like a header or a frame: what stands behind them is then
// read for what it says (R16).
func sealed(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) < segmentHeaderBytes {
		return b
	}
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	clear(b[16:32]) // as the name says
	meta := int64(binary.LittleEndian.Uint32(b[32:]))
	if meta > maxMetaBytes || segmentHeaderBytes+meta > int64(len(b)) {
		return b
	}
	sum := crc32.Update(crc32.Checksum(b[:36], castagnoli), castagnoli, b[40:40+meta])
	binary.LittleEndian.PutUint32(b[36:], sum)
	seed := binary.LittleEndian.Uint32(b[12:])
	chain := seed
	for at := roundUp(segmentHeaderBytes+meta, sectorBytes); at+frameHeaderBytes <= int64(len(b)); {
		head := b[at : at+frameHeaderBytes]
		binary.BigEndian.PutUint16(head[atMark:], frameMark)
		binary.LittleEndian.PutUint32(head[atCheck:], headerCheck(head, seed, at))
		end := at + frameBytes(int64(binary.LittleEndian.Uint32(head[atLength:])))
		if end > int64(len(b)) {
			break
		}
		b[end-1] = frameEnd
		chain = frameCRC(b[at:end], chain)
		binary.LittleEndian.PutUint32(head[atCRC:], chain)
		at = frameStart(end)
	}
	return b
}

func FuzzOpen(f *testing.F) {
	m, _ := history(f)
	for _, name := range segmentNames(f, m) {
		f.Add(contentOf(f, m, name))
	}
	head := appendSegmentHeader(nil, segment{}, nil)
	f.Add(head)
	f.Add(append(head, appendFrame(nil, entry(^uint64(0), "absurd index"))...))
	absurd := append(head, appendFrame(nil, entry(1, "absurd length"))...)
	binary.LittleEndian.PutUint32(absurd[len(head)+atLength:], ^uint32(0))
	f.Add(absurd)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = openBytes(t, b)
		_, _ = openBytes(t, sealed(b))
	})
}

// TestGarbageIsRefusedInBoundedMemory is a fuzzer without memory, for every run of the tests.
func TestGarbageIsRefusedInBoundedMemory(t *testing.T) {
	m, _ := history(t)
	_, whole := lastSegment(t, m)
	_ = m.Rename(segmentNames(t, m)[1], firstName)
	for _, seed := range seeds(2000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		b := append([]byte{}, whole...)
		for range 1 + rng.IntN(8) {
			from := rng.IntN(len(b))
			for i := from; i < min(len(b), from+1+rng.IntN(20)); i++ {
				b[i] = byte(rng.Uint32() >> rng.IntN(32))
			}
		}
		if rng.IntN(2) == 0 {
			b = sealed(b)
		}
		if _, err := openBytes(t, b); err != nil && !errors.As(err, new(*CorruptError)) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("-seed %d: %v", seed, err)
		}
	}
}

func TestAbsurdLengthTakesNoMemory(t *testing.T) { // R16
	for _, length := range []uint32{1 << 20, 1 << 30, 1<<32 - 1} {
		b := appendSegmentHeader(nil, segment{}, nil)
		at := int64(len(b))
		b = append(b, appendFrame(nil, entry(^uint64(0), "x"))...)
		binary.LittleEndian.PutUint32(b[at+atLength:], length)
		binary.LittleEndian.PutUint32(b[at+atCheck:], headerCheck(b[at:], 0, at))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := openBytes(t, b)
		runtime.ReadMemStats(&after)
		if !errors.As(err, new(*CorruptError)) {
			t.Errorf("a record of %d bytes: %v", length, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("a record of %d bytes took %d bytes of memory", length, n)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write the golden file of the format anew")

// TestFormatIsFrozen reads a log of format version 1, and finds that it is still written so.
func TestFormatIsFrozen(t *testing.T) {
	const golden = "testdata/version1.hex"
	m := disk.NewMem()
	l := create(t, m, small)
	put(t, l, entry(1, "a"), hardState("term 1"))
	put(t, l, entry(2, strings.Repeat("long ", 120)), entry(3, ""))
	closed(t, l)
	b := contentOf(t, m, firstName)
	text := hex.Dump(b[:2048])
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("the format has changed; a changed format needs a new version:\n%s", d)
	}
	got, err := openBytes(t, undump(t, string(want)))
	records := []rec{{entryKind, 1, "a"}, {stateKind, 0, "term 1"}, {entryKind, 2, strings.Repeat("long ", 120)},
		{entryKind, 3, ""}}
	if err != nil || !cmp.Equal(records, got) {
		t.Errorf("the golden log holds %v, %v", got, err)
	}
}

// undump turns the text of hex.Dump back into bytes. Its lines of zeros are all there.
func undump(t *testing.T, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		digits, _, _ := strings.Cut(line[8:], "|")
		part, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}
