package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

// history is a log of a few batches in two segments, the second being the last.
//
//	batch 1: entries 1, 2    batch 2: entry 3, over two sectors    batch 3: entries 4, 5, 6, over three sectors
func history(t testing.TB) (*disk.Mem, []rec) {
	t.Helper()
	m := disk.NewMem()
	l := create(t, m, small)
	var want []rec
	add := func(records ...Record) {
		put(t, l, records...)
		for _, r := range records {
			want = append(want, rec{r.Kind, r.Index, string(r.Payload)})
		}
	}
	for i := uint64(1); i <= 7; i++ {
		add(entry(i, strings.Repeat("old", 100)))
	}
	add(entry(8, "one"), entry(9, "two"))
	add(entry(10, strings.Repeat("three", 120)))
	add(entry(11, "four"), entry(12, strings.Repeat("five", 200)), entry(13, "six"))
	if l.Segments() != 2 {
		t.Fatalf("%d segments, want 2", l.Segments())
	}
	closed(t, l)
	return m, want
}

// places of the last segment of history, as offsets.
const (
	atBatch1   = 512
	atSecond   = 512 + 32 // entry 9
	atBatch2   = 1024
	atBatch3   = 2048
	atFive     = 2048 + 32
	endOfFives = atFive + 24 + 800 + 1
	atSix      = (endOfFives + 7) / 8 * 8
	endOfLog   = atSix + 24 + 3 + 1
)

func lastSegment(t testing.TB, m *disk.Mem) (string, []byte) {
	t.Helper()
	names := segmentNames(t, m)
	name := names[len(names)-1]
	return name, contentOf(t, m, name)
}

// TestHistoryLiesWhereTheTestsThink keeps the constants above honest.
func TestHistoryLiesWhereTheTestsThink(t *testing.T) {
	m, _ := history(t)
	name, b := lastSegment(t, m)
	s, _ := parseSegmentName(strings.TrimPrefix(name, "/wal/"))
	if _, err := s.readHeader(m, "/wal"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{atBatch1, atSecond, atBatch2, atBatch3, atFive, atSix} {
		if !validHeader(b[at:at+frameHeaderBytes], s.seed, at) {
			t.Errorf("no frame at %d", at)
		}
	}
	if b[endOfLog-1] != frameEnd || !isZero(b[endOfLog:]) {
		t.Errorf("the log does not end at %d", endOfLog)
	}
}

// TestTableOfRecovery has at least one case for each row of the table in the package comment.
func TestTableOfRecovery(t *testing.T) {
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 4; return b }
	}
	cut := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:at] }
	}
	const refused = -1
	cases := []struct {
		name   string
		row    int
		damage func([]byte) []byte
		keeps  int // records of the last segment, or refused
		offset int64
	}{
		{"payload changed, a batch follows", 1, flip(atBatch2 + 100), refused, atBatch2},
		{"header changed, a batch follows", 1, flip(atBatch1 + atLength), refused, atBatch1},
		{"sector lost, a batch follows", 1, zero(atBatch2, atBatch2+512), refused, atBatch2},
		{"second record of a batch lost, a batch follows", 1, zero(atSecond, atBatch2), refused, atBatch2},
		{"nothing wrong", 2, flip(endOfLog + 0x100000), 6, 0},
		{"nothing wrong, file ends there", 2, cut(endOfLog), 6, 0},
		{"file ends within zeros", 2, cut(endOfLog + 100), 6, 0},
		{"a bit has come up behind the end", 3, flip(endOfLog + 99), 6, 0},
		{"first sector of the last batch not written", 3, zero(atBatch3, atBatch3+512), 3, 0},
		{"cut within a header", 3, zero(atSix+10, endOfLog), 5, 0},
		{"header but its last byte", 3, zero(atSix+23, endOfLog), 5, 0},
		{"file ends within a header", 3, cut(atSix + 10), 5, 0},
		{"file ends where a batch would begin", 2, cut(atBatch3), 3, 0},
		{"length changed", 4, flip(atSix + atLength), refused, atSix},
		{"index changed", 4, flip(atFive + atIndex), refused, atFive},
		{"check changed", 4, flip(atBatch3 + atCheck), refused, atBatch3},
		{"mark changed", 4, flip(atSix + atMark + 1), refused, atSix},
		{"file ends within a payload", 6, cut(atFive + 30), 4, 0},
		{"cut within a payload", 6, zero(atFive+30, endOfLog), 4, 0},
		{"a sector of a payload not written", 6, zero(2560, 3072), 4, 0},
		{"end not written", 6, zero(endOfLog-1, endOfLog), 5, 0},
		{"payload changed", 7, flip(endOfLog - 2), refused, atSix},
		{"payload changed within the last batch", 7, flip(atFive + 500), refused, atFive},
		{"crc changed", 7, flip(atSix + atCRC), refused, atSix},
		{"end changed", 7, flip(endOfLog - 1), refused, atSix},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("row %d: %s", c.row, c.name), func(t *testing.T) {
			m, want := history(t)
			name, b := lastSegment(t, m)
			b = append(b, make([]byte, 2<<20)...)
			b = c.damage(b)
			if c.name == "nothing wrong" {
				b = b[:4096]
			}
			setContent(t, m, name, b)
			l, got, err := reopen(m, small, 0)
			if c.keeps == refused {
				var corrupt *CorruptError
				if !errors.As(err, &corrupt) || corrupt.File != name || corrupt.Offset != c.offset {
					t.Fatalf("opened with %d records, %v; want a refusal at offset %d", len(got), err, c.offset)
				}
				if string(contentOf(t, m, name)) != string(b) {
					t.Error("the file was changed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if want = want[:len(want)-6+c.keeps]; !cmp.Equal(want, got) {
				t.Fatalf("%d records, want %d", len(got), len(want))
			}
			goesOn(t, m, l, want)
		})
	}
}

// goesOn checks that a recovered log takes records, and has none of those that were cut off.
func goesOn(t *testing.T, m *disk.Mem, l *Log, want []rec) {
	t.Helper()
	for i := uint64(100); i < 110; i++ {
		put(t, l, entry(i, strings.Repeat("n", int(i*3))))
		want = append(want, rec{entryKind, i, strings.Repeat("n", int(i*3))})
	}
	closed(t, l)
	l, got, err := reopen(m, small, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(want, got) {
		t.Fatalf("after going on there are %d records, want %d", len(got), len(want))
	}
	closed(t, l)
}

// What is left of a torn batch is gone, not only hidden by what is written next: else it would stand behind a later end of
// the log like a record that has changed.
func TestATornBatchIsGoneForGood(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, Options{})
	sector := strings.Repeat("x", sectorBytes-frameHeaderBytes-frameEndBytes) // a frame of just one
	batch := make([]Record, 400)
	for i := range batch {
		batch[i] = entry(uint64(i+1), sector)
	}
	put(t, l, batch...)
	closed(t, l)
	name, b := lastSegment(t, m)
	clear(b[2*sectorBytes : 3*sectorBytes]) // the second record, behind the segment's header and the first
	setContent(t, m, name, b)
	l, got := mustReopen(t, m, Options{}, 0)
	if len(got) != 1 {
		t.Fatalf("%d records before the torn one, want 1", len(got))
	}
	put(t, l, batch[1:200]...) // too big a batch for zeros behind it
	closed(t, l)
	if _, got := mustReopen(t, m, Options{}, 0); len(got) != 200 {
		t.Errorf("%d records, want 200", len(got))
	}
}

// TestZeroSectorCannotBeTold holds the package comment to what it admits: behind a sector of zeros damage looks like a torn
// write, but in the last batch only.
func TestZeroSectorCannotBeTold(t *testing.T) {
	for _, followed := range []bool{false, true} {
		m := disk.NewMem()
		l := create(t, m, small)
		put(t, l, entry(1, "a"))
		put(t, l, entry(2, "begin"+strings.Repeat("\x00", 1500)+"finish"))
		if followed {
			put(t, l, entry(3, "c"))
		}
		closed(t, l)
		if err := m.Flip(segmentNames(t, m)[0], (1024+frameHeaderBytes)*8); err != nil {
			t.Fatal(err)
		}
		_, got, err := reopen(m, small, 0)
		if refused := errors.As(err, new(*CorruptError)); refused != followed || !refused && len(got) != 1 {
			t.Errorf("followed by another batch %v: %d records, %v", followed, len(got), err)
		}
	}
}

func TestRecordBeyondTheLimitIsRefused(t *testing.T) { // row 5, R16
	m := disk.NewMem()
	l := create(t, m, small)
	put(t, l, entry(1, "a"))
	put(t, l, entry(2, strings.Repeat("b", 2000)))
	closed(t, l)
	o := small
	o.MaxRecordBytes = 1000
	_, _, err := reopen(m, o, 0)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(corrupt.Reason, "2000 bytes") {
		t.Errorf("Open = %v", err)
	}
}

func TestLogCutAtAnyByteOpens(t *testing.T) { // R1
	m, want := history(t)
	name, b := lastSegment(t, m)
	ends := []int{atBatch1 + 28, atSecond + 28, atBatch2 + 625, atBatch3 + 29, endOfFives, endOfLog}
	for at := atBatch1; at <= endOfLog; at++ {
		for _, zeros := range []int{0, 4096 - at} { // the file ends there, or only what was written of it
			damaged := append(append([]byte{}, b[:at]...), make([]byte, zeros)...)
			c := m.Clone()
			setContent(t, c, name, damaged)
			l, got, err := reopen(c, small, 0)
			if err != nil {
				t.Fatalf("cut at %d with %d zeros: %v", at, zeros, err)
			}
			keeps := 7
			for _, end := range ends {
				if at >= end {
					keeps++
				}
			}
			if !cmp.Equal(want[:keeps], got) {
				t.Fatalf("cut at %d with %d zeros: %d records, want %d", at, zeros, len(got), keeps)
			}
			if at%37 == 0 {
				goesOn(t, c, l, got)
			} else {
				closed(t, l)
			}
		}
	}
}

// TestFlippedBitIsNeverServed flips each bit of a log (R17). Either the log is refused, or what is read is what was
// written: a bit of the padding or behind the end does no harm. Nothing that was written is lost.
func TestFlippedBitIsNeverServed(t *testing.T) {
	m, want := history(t)
	refused := 0
	for _, name := range segmentNames(t, m) {
		b := contentOf(t, m, name)
		used := int64(len(bytes.TrimRight(b, "\x00"))) * 8
		for bit := int64(0); bit < int64(len(b))*8-61; bit++ {
			if bit > used {
				bit += 60 // there is a lot of nothing
			}
			if err := m.Flip(name, bit); err != nil {
				t.Fatal(err)
			}
			l, got, err := reopen(m, small, 0)
			var corrupt *CorruptError
			switch {
			case errors.As(err, &corrupt):
				if corrupt.File != name || corrupt.Offset > bit/8 {
					t.Fatalf("bit %d of %s: found as %v", bit, name, err)
				}
				refused++
			case errors.Is(err, ErrNewerFormat) && bit/8 >= 8 && bit/8 < 12:
				refused++
			case err != nil || !cmp.Equal(want, got):
				t.Fatalf("bit %d of %s: %d records, want %d, %v", bit, name, len(got), len(want), err)
			default:
				closed(t, l)
			}
			setContent(t, m, name, b)
		}
	}
	if refused < 8*3800 {
		t.Errorf("only %d of the flips were noticed", refused)
	}
}

func TestZerosBehindTheEndAreNothing(t *testing.T) { // R2
	m, want := history(t)
	name, b := lastSegment(t, m)
	for _, torn := range []bool{false, true} {
		for _, zeros := range []int{1, 4 << 10, 64 << 10, 1 << 20, 4 << 20} {
			c, keep, whole := m.Clone(), b, want
			if torn {
				keep, whole = b[:endOfLog-2], want[:len(want)-1]
			}
			setContent(t, c, name, append(append([]byte{}, keep...), make([]byte, zeros)...))
			l, got := mustReopen(t, c, small, 0)
			if !cmp.Equal(whole, got) {
				t.Fatalf("%d zeros behind a tail (torn %v): %d records, want %d", zeros, torn, len(got), len(whole))
			}
			goesOn(t, c, l, got)
		}
	}
}

func TestRowOfSegmentsIsWhole(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	for i := uint64(1); i <= 40; i++ {
		put(t, l, entry(i, strings.Repeat("x", 600)))
	}
	closed(t, l)
	names := segmentNames(t, m)
	swap := func(c *disk.Mem, a, b string) {
		x, y := contentOf(t, c, a), contentOf(t, c, b)
		setContent(t, c, a, y)
		setContent(t, c, b, x)
	}
	cases := map[string]func(c *disk.Mem) error{
		"missing":   func(c *disk.Mem) error { return c.Remove(names[2]) },
		"swapped":   func(c *disk.Mem) error { swap(c, names[1], names[2]); return nil },
		"empty":     func(c *disk.Mem) error { setContent(t, c, names[2], nil); return nil },
		"zero":      func(c *disk.Mem) error { setContent(t, c, names[2], make([]byte, 4096)); return nil },
		"last zero": func(c *disk.Mem) error { setContent(t, c, names[len(names)-1], make([]byte, 4096)); return nil },
		"cut":       func(c *disk.Mem) error { setContent(t, c, names[2], contentOf(t, c, names[2])[:1500]); return nil },
		"header":    func(c *disk.Mem) error { setContent(t, c, names[2], contentOf(t, c, names[2])[:512]); return nil },
		"twice": func(c *disk.Mem) error {
			setContent(t, c, "/wal/0000000000000002-00000000000000ff.wal", contentOf(t, c, names[2]))
			return nil
		},
		"misnamed": func(c *disk.Mem) error { return c.Rename(names[2], "/wal/copy of 2.wal") },
		"of another log": func(c *disk.Mem) error {
			l, err := Create(c, "/other", []byte("someone else"), small)
			if err != nil {
				return err
			}
			setContent(t, c, names[0], contentOf(t, c, "/other/0000000000000000-0000000000000000.wal"))
			return l.Close()
		},
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			c := m.Clone()
			if err := damage(c); err != nil {
				t.Fatal(err)
			}
			_, _, err := reopen(c, small, 0)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Advice == "" || !strings.HasPrefix(corrupt.File, "/wal/") {
				t.Errorf("Open = %v, want a *CorruptError with file and advice", err)
			}
		})
	}
}

func TestOldSegmentsMayBeMissingAtTheFront(t *testing.T) {
	m, want := history(t)
	if err := m.Remove(segmentNames(t, m)[0]); err != nil {
		t.Fatal(err)
	}
	l, got := mustReopen(t, m, small, 0)
	if !cmp.Equal(want[7:], got) || l.First() != 8 {
		t.Errorf("First() = %d, %d records", l.First(), len(got))
	}
}
