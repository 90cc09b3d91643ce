package store

import (
	"bytes"
	"testing"

	"canopy/store/storepb"
)

// TestTheHashTellsStatesApart changes each part of a state alone (R12).
func TestTheHashTellsStatesApart(t *testing.T) {
	base := func() *Store {
		s := New(Options{})
		must(t, s, file("/a", "1"), timed("/d/t", 9), file("/d/sub/k", "x"))
		publish(s)
		return s
	}
	seen := map[uint64]string{base().View().Hash(): "nothing"}
	if again := base().View().Hash(); seen[again] == "" {
		t.Fatalf("equal states have different hashes, one %x", again)
	}
	for name, change := range map[string]func(*Store){
		"a write":          func(s *Store) { must(t, s, file("/a", "2")) },
		"another key":      func(s *Store) { must(t, s, file("/b", "2")) },
		"a removal":        func(s *Store) { must(t, s, rmdir("/d")) },
		"an index":         func(s *Store) { s.Advance() },
		"a shift":          func(s *Store) { s.Shift(Second) },
		"a failed write":   func(s *Store) { _ = try(s, testTime, Delete{Key: mustKey("/none")}) },
		"the time":         func(s *Store) { s.Expire(testTime+1, 1) },
		"a deadline":       func(s *Store) { must(t, s, timed("/a", 5)) },
		"another deadline": func(s *Store) { must(t, s, timed("/a", 6)) },
	} {
		s := base()
		change(s)
		s.dirty = true
		publish(s)
		h := s.View().Hash()
		if other, ok := seen[h]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[h] = name
	}
}

// TestASnapshotOfAnotherStateIsRefused: the hash in a snapshot is not that of its state, so memory was damaged. A snapshot of
// an old version has no hash, and is accepted.
func TestASnapshotOfAnotherStateIsRefused(t *testing.T) {
	all := records(t, save(t, sample(t)))
	for _, test := range []struct {
		hash uint64
		ok   bool
	}{{sample(t).View().Hash(), true}, {0, true}, {1, false}} {
		var trailer storepb.Trailer
		if err := trailer.UnmarshalVT(all[len(all)-1]); err != nil {
			t.Fatal(err)
		}
		trailer.Hash = test.hash
		b, err := trailer.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Load(bytes.NewReader(joined(append(all[:len(all)-1:len(all)-1], b))), Options{})
		if (err == nil) != test.ok {
			t.Errorf("hash %x: %v", test.hash, err)
		}
	}
}
