package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store/storepb"
)

// sample is a store with all kinds of nodes and events.
func sample(t testing.TB) *Store {
	t.Helper()
	s := New(Options{HistoryEvents: 6})
	must(t, s, file("/f\xff", "v\x00\xff"), dir("/e"), timed("/d/t", 9), file("/d/sub/k", ""), timed("/_h", 9),
		Update{Key: mustKey("/e"), TTL: TTL{true, 99}}, file("/gone", ""), rmdir("/gone"), CreateInOrder{Dir: mustKey("/d")})
	s.Advance()
	s.Shift(3 * Second)
	_ = try(s, testTime+7, Delete{Key: mustKey("/none")})
	publish(s)
	return s
}

// records splits a snapshot.
func records(t testing.TB, saved []byte) [][]byte {
	t.Helper()
	var all [][]byte
	for r := bytes.NewReader(saved); r.Len() > 0; {
		size, err := binary.ReadUvarint(r)
		if err != nil {
			t.Fatal(err)
		}
		record := make([]byte, size)
		if _, err := io.ReadFull(r, record); err != nil {
			t.Fatal(err)
		}
		all = append(all, record)
	}
	return all
}

// joined is the reverse of records.
func joined(all [][]byte) []byte {
	var b []byte
	for _, record := range all {
		b = append(binary.AppendUvarint(b, uint64(len(record))), record...)
	}
	return b
}

// TestALoadedStoreIsTheSame checks K131, K134 and R53: a loaded store has all data, and goes on in the same way.
func TestALoadedStoreIsTheSame(t *testing.T) {
	a := sample(t)
	b, err := Load(bytes.NewReader(save(t, a)), Options{HistoryEvents: 6})
	if err != nil {
		t.Fatal(err)
	}
	checkInvariants(t, b)
	for _, c := range []Command{file("/f\xff", "new"), Update{Key: mustKey("/e")}, CreateInOrder{Dir: mustKey("/d")}, rmdir("/d")} {
		if got, want := try(b, testTime+8, c), try(a, testTime+8, c); got != want {
			t.Errorf("%#v = %s, want %s", c, got, want)
		}
	}
	if got, want := b.Expire(testTime+Time(100*Second), 99), a.Expire(testTime+Time(100*Second), 99); got != want || got != 1 {
		t.Errorf("%d expired, want %d", got, want)
	}
	publish(a)
	publish(b)
	if !bytes.Equal(save(t, a), save(t, b)) {
		t.Error("the stores save differently afterwards")
	}
	small, err := Load(bytes.NewReader(save(t, a)), Options{HistoryEvents: 2})
	if err != nil {
		t.Fatal(err)
	}
	h := small.hub.History()
	if h.Events() != 2 || h.Oldest() != 14 {
		t.Errorf("history from %d with a smaller limit", h.Oldest())
	}
}

// TestEmptyStoreSavesAndLoads checks the smallest snapshot.
func TestEmptyStoreSavesAndLoads(t *testing.T) {
	s := reloaded(t, New(Options{}))
	if got := treeOf(t, s); got != `{"action":"get","node":{"dir":true}}`+"\n" {
		t.Errorf("tree %s", got)
	}
	if oldest, newest := s.HistoryRange(); oldest != 1 || newest != 0 {
		t.Errorf("history %d-%d", oldest, newest)
	}
}

// TestSaveStopsAtAnError checks that Save returns the error of the writer.
func TestSaveStopsAtAnError(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/large", strings.Repeat("v", 1<<20)))
	if err := s.View().Save(&pieces{left: 1}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("err = %v", err)
	}
}

// TestLoadRefusesWhatIsCutOrFlipped tries every cut, and many flipped bits: Load returns an error or a consistent store, and
// never panics.
func TestLoadRefusesWhatIsCutOrFlipped(t *testing.T) {
	saved := save(t, sample(t))
	for n := range saved {
		if _, err := Load(bytes.NewReader(saved[:n]), Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: %v", n, len(saved), err)
		}
	}
	if _, err := Load(bytes.NewReader(append(slices.Clone(saved), 0)), Options{}); err == nil {
		t.Error("something after the end was accepted")
	}
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for range 5_000 {
		b := slices.Clone(saved)
		for range 1 + rng.IntN(3) {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		loadOrRefuse(t, b)
	}
}

// loadOrRefuse loads b. A store that Load accepts must be consistent and usable.
func loadOrRefuse(t *testing.T, b []byte) {
	s, err := Load(bytes.NewReader(b), Options{})
	hash, verifyErr := Verify(bytes.NewReader(b))
	var refused *SnapshotError
	switch {
	case fmt.Sprint(err) != fmt.Sprint(verifyErr):
		t.Fatalf("Load says %v, and Verify %v", err, verifyErr)
	case err == nil && hash != s.View().Hash():
		t.Fatalf("Verify gives hash %x, the loaded store %x", hash, s.View().Hash())
	case err == nil:
		checkInvariants(t, s)
		_ = treeOf(t, s)
		s.Expire(testTime+Time(1000*Second), 10)
		publish(s)
		_ = reloaded(t, s)
	case !errors.As(err, &refused) || refused.Error() == "":
		t.Fatalf("err = %v", err)
	}
}

// TestLoadNamesWhatIsWrong changes one record at a time.
func TestLoadNamesWhatIsWrong(t *testing.T) {
	saved := save(t, sample(t))
	all := records(t, saved)
	// 0 header; nodes 1 /_h, 2 /d, 3 its in-order child, 4 /d/sub, 5 /d/sub/k, 6 /d/t, 7 /e, 8 /f; 9 end; 10-15 events; 16 trailer
	node := func(i int, change func(*storepb.Node)) [][]byte {
		var m storepb.Node
		if err := m.UnmarshalVT(all[i]); err != nil {
			t.Fatal(err)
		}
		change(&m)
		return replaced(t, all, i, &m)
	}
	header := func(change func(*storepb.Header)) [][]byte {
		var m storepb.Header
		if err := m.UnmarshalVT(all[0]); err != nil {
			t.Fatal(err)
		}
		change(&m)
		return replaced(t, all, 0, &m)
	}
	event := func(change func(*storepb.Event)) [][]byte {
		var m storepb.Event
		if err := m.UnmarshalVT(all[11]); err != nil {
			t.Fatal(err)
		}
		change(&m)
		return replaced(t, all, 11, &m)
	}
	for _, c := range []struct {
		want    string
		records [][]byte
	}{
		{"record 1: version 2 is not known", header(func(m *storepb.Header) { m.Version = 2 })},
		{"record 1: there is no version 0", header(func(m *storepb.Header) { m.Version = 0 })},
		{"record 1: negative shift", header(func(m *storepb.Header) { m.Shift = -1 })},
		{"record 1: the history begins past the index", header(func(m *storepb.Header) { m.Oldest = 99 })},
		{"record 1: the history begins past the index", header(func(m *storepb.Header) { m.Oldest = 0 })},
		{"record 2: a node's indexes are out of range", header(func(m *storepb.Header) { m.Index = 4; m.Oldest = 1 })},
		{"record 2: a node without its directory", node(1, func(m *storepb.Node) { m.Depth = 2 })},
		{"record 6: a node without its directory", node(5, func(m *storepb.Node) { m.Depth = 9 })},
		{"record 3: a name that no node can have", node(2, func(m *storepb.Node) { m.Name = nil })},
		{"record 3: a name that no node can have", node(2, func(m *storepb.Node) { m.Name = []byte("a/b") })},
		{"record 3: a name that no node can have", node(2, func(m *storepb.Node) { m.Name = []byte("..") })},
		{"record 3: nodes out of order", node(2, func(m *storepb.Node) { m.Name = []byte("_h") })},
		{"record 5: nodes out of order", node(4, func(m *storepb.Node) { m.Name = []byte("\x00") })},
		{"record 3: a directory with a value", node(2, func(m *storepb.Node) { m.Value = []byte("v") })},
		{"record 3: a node's indexes are out of range", node(2, func(m *storepb.Node) { m.Created = 0 })},
		{"record 3: a node's indexes are out of range", node(2, func(m *storepb.Node) { m.Created = 9 })},
		{"record 12: events out of order", event(func(m *storepb.Event) { m.Index = 4 })},
		{"record 12: events out of order", event(func(m *storepb.Event) { m.Index = 99 })},
		{"record 12: an event without a node", event(func(m *storepb.Event) { m.Key = nil })},
		{"record 12: an event without a node", event(func(m *storepb.Event) { m.Key = []byte("/a/") })},
		{"record 12: an event without a node: store: the path climbs", event(func(m *storepb.Event) { m.Key = []byte("/..") })},
		{"record 12: an event that this version does not know", event(func(m *storepb.Event) { m.Action = 256 + 2 })},
		{"record 12: an event that this version does not know", event(func(m *storepb.Event) { m.Action = 1 })},
		{"record 12: an event that this version does not know", event(func(m *storepb.Event) { m.Flags = 8 })},
		{"record 12: an event without JSON", event(func(m *storepb.Event) { m.Json = nil })},
		{"record 16: the counts differ", slices.Delete(slices.Clone(all), 8, 9)},
	} {
		_, err := Load(bytes.NewReader(joined(c.records)), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Load = %v, want %s", err, c.want)
		}
	}
	if _, err := Load(bytes.NewReader(binary.AppendUvarint(nil, recordBytesMax+1)), Options{}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a record of more than all memory: %v", err)
	}
}

// replaced is all records with m in the i-th place.
func replaced(t *testing.T, all [][]byte, i int, m message) [][]byte {
	t.Helper()
	b := make([]byte, m.SizeVT())
	if _, err := m.MarshalToSizedBufferVT(b); err != nil {
		t.Fatal(err)
	}
	all = slices.Clone(all)
	all[i] = b
	return all
}

// TestLoadBelievesNoLength loads a length without its content: memory depends on what is read, and not on the length.
func TestLoadBelievesNoLength(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b := binary.AppendUvarint(nil, recordBytesMax)
	if _, err := Load(bytes.NewReader(append(b, make([]byte, 100_000)...)), Options{}); err == nil {
		t.Error("accepted")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}

// FuzzLoad checks that no input does harm.
func FuzzLoad(f *testing.F) {
	f.Add(save(f, sample(f)))
	f.Add(save(f, New(Options{})))
	f.Fuzz(func(t *testing.T, b []byte) { loadOrRefuse(t, b) })
}
