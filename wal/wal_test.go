package wal

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

const (
	entryKind Kind = 1
	stateKind Kind = 2
)

var (
	small   = Options{SegmentBytes: 4096, MaxRecordBytes: 64 << 10}
	growing = Options{FirstSegmentBytes: 4096, SegmentBytes: 12 << 10, MaxRecordBytes: 64 << 10}
)

// rec is a record as Replay hands it out.
type rec struct {
	Kind    Kind
	Index   uint64
	Payload string
}

func entry(index uint64, payload string) Record {
	return Record{Kind: entryKind, Index: index, Payload: []byte(payload)}
}

func hardState(payload string) Record { return Record{Kind: stateKind, Payload: []byte(payload)} }

func create(t testing.TB, m *disk.Mem, o Options) *Log {
	t.Helper()
	l, err := Create(m, "/wal", []byte("member 1"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// put makes records safe, in one batch.
func put(t testing.TB, l *Log, records ...Record) {
	t.Helper()
	if err := l.Append(records...); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// reopen opens a log and returns what it holds.
func reopen(m disk.FS, o Options, from uint64) (*Log, []rec, error) {
	l, meta, err := Open(m, "/wal", o)
	if err != nil {
		return nil, nil, err
	}
	if string(meta) != "member 1" {
		return nil, nil, errors.Join(fmt.Errorf("meta is %q", meta), l.Close())
	}
	var got []rec
	err = l.Replay(from, func(k Kind, index uint64, p []byte) error {
		got = append(got, rec{k, index, string(p)})
		return nil
	})
	if err != nil {
		return nil, got, errors.Join(err, l.Close())
	}
	return l, got, nil
}

func mustReopen(t testing.TB, m disk.FS, o Options, from uint64) (*Log, []rec) {
	t.Helper()
	l, got, err := reopen(m, o, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, got
}

func entriesOf(records []rec) (entries []rec) {
	for _, r := range records {
		if r.Index != 0 {
			entries = append(entries, r)
		}
	}
	return entries
}

func segmentNames(t testing.TB, m *disk.Mem) (names []string) {
	t.Helper()
	all, err := m.List("/wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasSuffix(name, segmentSuffix) {
			names = append(names, filepath.Join("/wal", name))
		}
	}
	return names
}

func contentOf(t testing.TB, m *disk.Mem, name string) []byte {
	t.Helper()
	b, err := disk.ReadFile(m, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setContent(t testing.TB, m *disk.Mem, name string, b []byte) {
	t.Helper()
	if err := disk.WriteFile(m, name, b); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsComeBackInOrder(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	want := []rec{}
	for i := uint64(1); i <= 500; i++ {
		e := entry(i, strings.Repeat(fmt.Sprint(i), int(i%40)))
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
		want = append(want, rec{entryKind, i, string(e.Payload)})
		if i%7 == 0 || i == 500 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if l.Segments() < 5 {
		t.Errorf("%d segments: too few for this test", l.Segments())
	}
	closed(t, l)
	_, got := mustReopen(t, m, small, 0)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRecordsOfEverySizeComeBack(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	var want []rec
	index := uint64(0)
	for _, border := range []int{0, 8, 488, 512, 1024, 3584, 4096, 10000} {
		for size := max(0, border-50); size < border+26; size++ {
			index++
			payload := strings.Repeat("p", size)
			if err := l.Append(entry(index, payload)); err != nil {
				t.Fatal(err)
			}
			if size%3 == 0 {
				if err := l.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, rec{entryKind, index, payload})
		}
	}
	put(t, l)
	closed(t, l)
	_, got := mustReopen(t, m, small, 0)
	if !cmp.Equal(want, got) {
		t.Errorf("%d records came back otherwise than %d were appended", len(got), len(want))
	}
}

func TestRecordBiggerThanASegmentHasOneOfItsOwn(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	big := strings.Repeat("b", 60<<10)
	put(t, l, entry(1, "a"))
	put(t, l, entry(2, big))
	put(t, l, entry(3, "c"))
	closed(t, l)
	l, got := mustReopen(t, m, small, 0)
	if want := []rec{{entryKind, 1, "a"}, {entryKind, 2, big}, {entryKind, 3, "c"}}; !cmp.Equal(want, got) {
		t.Errorf("got %d records", len(got))
	}
	if l.Segments() != 3 {
		t.Errorf("%d segments, want 3", l.Segments())
	}
}

func TestLimitsAreRefusedBeforeAnythingIsAdded(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	for _, bad := range []Record{{Kind: 0, Index: 2}, entry(2, strings.Repeat("x", 64<<10+1))} {
		if err := l.Append(entry(1, "good"), bad); err == nil {
			t.Errorf("kind %d with %d bytes was taken", bad.Kind, len(bad.Payload))
		}
	}
	put(t, l, entry(1, "only"))
	closed(t, l)
	if _, got := mustReopen(t, m, small, 0); !cmp.Equal(got, []rec{{entryKind, 1, "only"}}) {
		t.Errorf("got %v", got)
	}
	for _, o := range []Options{{SegmentBytes: 100}, {FirstSegmentBytes: 100}, {SegmentBytes: 8192, FirstSegmentBytes: 8193}, {MaxRecordBytes: 2 << 30}, {MaxRecordBytes: -1}} {
		if _, err := Create(m, "/other", nil, o); err == nil {
			t.Errorf("Create took %+v", o)
		}
	}
	if _, err := Create(m, "/other", make([]byte, maxMetaBytes+1), small); err == nil {
		t.Error("Create took too long a meta")
	}
}

func TestEachSegmentBeginsWithTheNewestStates(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	for i := uint64(1); i <= 100; i++ {
		put(t, l, entry(i, strings.Repeat("x", 100)), hardState(fmt.Sprint("state ", i)))
	}
	if err := l.Release(60, 1); err != nil {
		t.Fatal(err)
	}
	if l.First() > 61 || l.First() < 40 {
		t.Errorf("First() = %d after Release(60)", l.First())
	}
	first := l.First()
	closed(t, l)
	l, got := mustReopen(t, m, small, 61)
	if want := (rec{stateKind, 0, fmt.Sprint("state ", first-1)}); got[0] != want {
		t.Errorf("the oldest segment begins with %v, want %v", got[0], want)
	}
	entries := entriesOf(got)
	if entries[0].Index > 61 || entries[len(entries)-1].Index != 100 || len(entries) != int(101-entries[0].Index) {
		t.Errorf("entries %d to %d, %d of them", entries[0].Index, entries[len(entries)-1].Index, len(entries))
	}
	// What was read is carried on like what was written.
	for i := uint64(101); i <= 130; i++ {
		put(t, l, entry(i, strings.Repeat("x", 100)))
	}
	if err := l.Release(130, 1); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	if _, got = mustReopen(t, m, small, 0); got[0] != (rec{stateKind, 0, "state 100"}) {
		t.Errorf("the last segment begins with %v", got[0])
	}
}

func TestReplayLeavesOutWhatIsBelow(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	for i := uint64(1); i <= 200; i++ {
		put(t, l, entry(i, strings.Repeat("x", 100)))
	}
	closed(t, l)
	for _, from := range []uint64{0, 1, 50, 199, 200, 201, 1000} {
		l, got := mustReopen(t, m, small, from)
		if len(got) > 0 && got[0].Index > max(from, 1) {
			t.Errorf("Replay(%d) begins at %d", from, got[0].Index)
		}
		if from > 0 && len(got) > int(201-min(from, 200))+7 {
			t.Errorf("Replay(%d) hands out %d records", from, len(got))
		}
		closed(t, l)
	}
}

func TestOverwrittenEntriesAreFoundFromTheirFirst(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	for i := uint64(1); i <= 90; i++ {
		put(t, l, entry(i, strings.Repeat("x", 100)))
	}
	for i := uint64(50); i <= 90; i++ { // a new leader had others
		put(t, l, entry(i, strings.Repeat("y", 100)))
	}
	closed(t, l)
	for from := uint64(1); from <= 90; from++ {
		l, got := mustReopen(t, m, small, from)
		latest := map[uint64]byte{}
		for _, r := range got {
			latest[r.Index] = r.Payload[0]
		}
		for i := from; i <= 90; i++ {
			if want := map[bool]byte{true: 'y', false: 'x'}[i >= 50]; latest[i] != want {
				t.Fatalf("Replay(%d): entry %d is %q, want %q", from, i, latest[i], want)
			}
		}
		closed(t, l)
	}
}

func TestReleaseKeepsWhatIsAskedFor(t *testing.T) {
	l := create(t, disk.NewMem(), small)
	for i := uint64(1); i <= 200; i++ {
		put(t, l, entry(i, strings.Repeat("x", 100)))
	}
	all := l.Segments()
	for _, step := range []struct {
		upTo uint64
		keep int
		want int
	}{{0, 1, all}, {1000, all, all}, {1000, 5, 5}, {1000, 0, 1}, {^uint64(0), 1, 1}} {
		if err := l.Release(step.upTo, step.keep); err != nil || l.Segments() != step.want {
			t.Errorf("Release(%d, %d) leaves %d segments, want %d (%v)", step.upTo, step.keep, l.Segments(), step.want, err)
		}
	}
}

func TestOnlyOneProcessHasTheLog(t *testing.T) {
	m := disk.NewMem()
	create(t, m, small)
	if _, _, err := Open(m, "/wal", small); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("a second Open = %v", err)
	}
	if _, err := Create(m, "/wal", nil, small); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("a second Create = %v", err)
	}
}

func TestCreateAndOpenKnowWhatIsThere(t *testing.T) {
	m := disk.NewMem()
	if _, _, err := Open(m, "/wal", small); !errors.Is(err, ErrNotFound) {
		t.Errorf("Open of nothing = %v", err)
	}
	if found, err := Exists(m, "/wal"); found || err != nil {
		t.Errorf("Exists of nothing = %v, %v", found, err)
	}
	closed(t, create(t, m, small))
	if _, err := Create(m, "/wal", nil, small); !errors.Is(err, ErrExists) {
		t.Errorf("Create over a log = %v", err)
	}
	if found, err := Exists(m, "/wal"); !found || err != nil {
		t.Errorf("Exists = %v, %v", found, err)
	}
}

func TestOpenedLogIsReplayedBeforeUse(t *testing.T) {
	m := disk.NewMem()
	closed(t, create(t, m, small))
	l, _, err := Open(m, "/wal", small)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, err := range map[string]error{"Append": l.Append(entry(1, "")), "Sync": l.Sync(), "Reserve": l.Reserve()} {
		if !errors.Is(err, ErrNotReplayed) {
			t.Errorf("%s before Replay = %v", name, err)
		}
	}
	nothing := func(Kind, uint64, []byte) error { return nil }
	if err := l.Replay(0, nothing); err != nil {
		t.Fatal(err)
	}
	if err := l.Replay(0, nothing); !errors.Is(err, ErrReplayed) {
		t.Errorf("a second Replay = %v", err)
	}
	closed(t, l)
	if err := l.Append(entry(1, "")); !errors.Is(err, ErrFailed) {
		t.Errorf("Append after Close = %v", err)
	}
}

func TestErrorOfTheReceiverEndsReplay(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	put(t, l, entry(1, "a"), entry(2, "b"))
	closed(t, l)
	l, _, err := Open(m, "/wal", small)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cause := errors.New("enough")
	if err := l.Replay(0, func(Kind, uint64, []byte) error { return cause }); !errors.Is(err, cause) {
		t.Errorf("Replay = %v", err)
	}
}

func TestFailedWriteOrSyncIsForEver(t *testing.T) {
	for _, op := range []disk.Op{disk.OpWrite, disk.OpSync} {
		m := disk.NewMem()
		l := create(t, m, small)
		put(t, l, entry(1, "a"))
		m.Inject(disk.Fault{Op: op})
		if err := l.Append(entry(2, "b")); err != nil {
			t.Fatal(err)
		}
		err := l.Sync()
		if !errors.Is(err, ErrFailed) || !errors.Is(err, disk.ErrInjected) {
			t.Errorf("Sync with a failing %v = %v", op, err)
		}
		m.Heal()
		for name, err := range map[string]error{"Append": l.Append(entry(3, "c")), "Sync": l.Sync(), "Reserve": l.Reserve()} {
			if !errors.Is(err, ErrFailed) {
				t.Errorf("%s after a failed %v = %v", name, op, err)
			}
		}
	}
}

func TestSyncIsOneWriteAndOneSync(t *testing.T) {
	for _, noSync := range []bool{false, true} {
		m := disk.NewMem()
		o := Options{NoSync: noSync}
		l := create(t, m, o)
		put(t, l, entry(1, "the first writes ahead"))
		writes, syncs := m.Count(disk.OpWrite), m.Count(disk.OpSync)
		for i := uint64(2); i <= 101; i++ {
			if err := l.Append(entry(i, "a"), hardState("b")); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second has nothing to do
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		want := map[bool]int{false: 1, true: 0}[noSync]
		if w, s := m.Count(disk.OpWrite)-writes, m.Count(disk.OpSync)-syncs; w != 1 || s != want {
			t.Errorf("NoSync %v: %d writes and %d syncs, want 1 and %d", noSync, w, s, want)
		}
		closed(t, l)
		if _, got := mustReopen(t, m, o, 0); len(got) != 201 {
			t.Errorf("NoSync %v: %d records", noSync, len(got))
		}
	}
}

// ends notes up to where a file was written.
type ends struct {
	disk.File
	at []int64
}

func (e *ends) WriteSync(p []byte, at int64) error {
	e.at = append(e.at, at+int64(len(p)))
	return e.File.WriteSync(p, at)
}

// Blocks are written to before they are needed, up to the end of the segment and no further; big batches take none. All
// that is written ends with a sector, unless the segment does not.
func TestZerosAreWrittenAhead(t *testing.T) {
	m := disk.NewMem()
	o := Options{SegmentBytes: 3*aheadBytes - 700}
	l := create(t, m, o)
	first := &ends{File: l.file}
	l.file = first
	small := strings.Repeat("x", 3000)
	const batches = 250 // less than a segment
	for i := range uint64(batches) {
		put(t, l, entry(i+1, small))
	}
	ahead := 0
	for i, end := range first.at[1:] {
		if end%sectorBytes != 0 && end != o.SegmentBytes {
			t.Errorf("batch %d was written up to %d", i+2, end)
		}
		if end > first.at[i]+4096 {
			ahead++
		}
	}
	if ahead++; l.Segments() != 1 || ahead != 6 { // 16, 32, 64, 128 KiB, and twice 256; with the first batch, too
		t.Errorf("%d segments, written ahead %d times, want 1 and 6", l.Segments(), ahead)
	}
	if size, err := l.file.Size(); err != nil || size != o.SegmentBytes {
		t.Errorf("the segment has %d bytes, want %d (%v)", size, o.SegmentBytes, err)
	}
	put(t, l, entry(batches+1, strings.Repeat("y", aheadBytes/4)))
	if l.Segments() != 2 || l.written != 0 {
		t.Errorf("%d segments, a big batch wrote ahead up to %d", l.Segments(), l.written)
	}
	closed(t, l)
	if _, got := mustReopen(t, m, o, 0); len(got) != batches+1 {
		t.Errorf("%d records, want %d", len(got), batches+1)
	}
}

func TestAppendingAllocatesNothing(t *testing.T) {
	l, err := Create(disk.OS{}, filepath.Join(t.TempDir(), "wal"), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	records := []Record{hardState("0123456789"), entry(1, strings.Repeat("x", 64))}
	cycle := func() {
		for range 64 {
			if err := l.Append(records...); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	if n := testing.AllocsPerRun(20, cycle); n > 0 {
		t.Errorf("%v allocations for a batch of 128 records", n)
	}
}

func TestNewerFormatIsNotTouched(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	put(t, l, entry(1, "a"))
	closed(t, l)
	name := segmentNames(t, m)[0]
	b := contentOf(t, m, name)
	b[8] = segmentVersion + 1
	setContent(t, m, name, b)
	if _, _, err := reopen(m, small, 0); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Open = %v", err)
	}
	if !bytes.Equal(b, contentOf(t, m, name)) {
		t.Error("the file was changed")
	}
}

func TestLogOnTheRealDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "member", "wal")
	l, err := Create(disk.OS{}, dir, []byte("member 1"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const entries = 1000
	for i := uint64(1); i <= entries; i++ {
		if err := l.Append(entry(i, strings.Repeat("x", int(i)*40))); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closed(t, l)
	for range 2 {
		l, _, err := Open(disk.OS{}, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		err = l.Replay(0, func(_ Kind, index uint64, p []byte) error {
			if n++; index != n || len(p) != int(n)*40 {
				return fmt.Errorf("record %d is entry %d with %d bytes", n, index, len(p))
			}
			return nil
		})
		if err != nil || n != entries || l.Segments() != 2 || !l.Reserved() {
			t.Errorf("%d entries in %d segments, reserved %v, %v", n, l.Segments(), l.Reserved(), err)
		}
		closed(t, l)
	}
}

// TestSegmentsGrow: a log of few records takes little of the disk, and the segments of a longer one are as big as Options
// say. A restart, and a torn end, change no size.
func TestSegmentsGrow(t *testing.T) {
	m := disk.NewMem()
	o := Options{FirstSegmentBytes: 4096, SegmentBytes: 12 << 10}
	l := create(t, m, o)
	var got []int64
	for i := uint64(1); len(got) < 4; i++ {
		if l.Segments() > len(got) {
			got = append(got, l.SegmentBytes())
			if left, want := l.Left(), l.room-l.offset+l.spare; left != want {
				t.Errorf("segment %d: %d bytes left, want %d", l.Segments(), left, want)
			}
			checkSizes(t, m, l)
			closed(t, l)
			l, _ = mustReopen(t, m, o, 0)
			checkSizes(t, m, l)
		}
		put(t, l, entry(i, strings.Repeat("x", 400)))
	}
	if want := []int64{4096, 8192, 12 << 10, 12 << 10}; !slices.Equal(got, want) {
		t.Errorf("segments have %d bytes, want %d", got, want)
	}
}

// checkSizes compares the files of the last and of the spare segment with what the log says of them.
func checkSizes(t *testing.T, m *disk.Mem, l *Log) {
	t.Helper()
	names := segmentNames(t, m)
	for name, want := range map[string]int64{names[len(names)-1]: l.SegmentBytes(), "/wal/" + spareName: l.spare} {
		if got := int64(len(contentOf(t, m, name))); got != want {
			t.Errorf("%s has %d bytes, the log says %d", name, got, want)
		}
	}
}

// TestATornSegmentKeepsItsSize: what is cut off at the end is allocated again.
func TestATornSegmentKeepsItsSize(t *testing.T) {
	m := disk.NewMem()
	o := Options{FirstSegmentBytes: 4096, SegmentBytes: 16 << 10}
	l := create(t, m, o)
	for i := uint64(1); l.SegmentBytes() < 8192; i++ {
		put(t, l, entry(i, strings.Repeat("x", 400)))
	}
	put(t, l, entry(l.last+1, strings.Repeat("y", 1500)))
	end := l.offset
	closed(t, l)
	names := segmentNames(t, m)
	last := names[len(names)-1]
	b := contentOf(t, m, last)
	clear(b[end-sectorBytes : end])
	setContent(t, m, last, b)
	l, _ = mustReopen(t, m, o, 0)
	if l.SegmentBytes() != 8192 {
		t.Errorf("the segment has %d bytes, want 8192", l.SegmentBytes())
	}
	checkSizes(t, m, l)
}
