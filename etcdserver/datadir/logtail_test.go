package datadir

import (
	"slices"
	"strings"
	"testing"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/snap"
)

// logRecord is one record of a log in a test: an entry, or the mark of a snapshot.
type logRecord struct {
	mark  bool
	index raft.Index
	term  raft.Term
}

func (r logRecord) replay(t *testing.T, into *logTail) error {
	t.Helper()
	if r.mark {
		payload, err := (&pb.SnapshotMark{Term: uint64(r.term)}).MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		return into.record(SnapshotRecord, uint64(r.index), payload)
	}
	payload, err := (&pb.Entry{Term: uint64(r.term)}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return into.record(EntryRecord, uint64(r.index), payload)
}

// Behind a snapshot of index 5, term 3, the log goes on with the entries that
// follow it, and with no others.
func TestTheLogGoesOnBehindItsSnapshot(t *testing.T) {
	entry := func(index raft.Index, term raft.Term) logRecord { return logRecord{false, index, term} }
	mark := func(index raft.Index, term raft.Term) logRecord { return logRecord{true, index, term} }
	for _, tt := range []struct {
		name    string
		records []logRecord
		want    []raft.Index
		terms   []raft.Term
		fails   string
	}{
		{"a snapshot of its own", []logRecord{entry(4, 3), entry(5, 3), entry(6, 3), entry(7, 3)}, []raft.Index{6, 7}, []raft.Term{3, 3}, ""},
		{"the log before it was released", []logRecord{entry(6, 3), entry(7, 4)}, []raft.Index{6, 7}, []raft.Term{3, 4}, ""},
		{"entries that were replaced", []logRecord{entry(5, 3), entry(6, 3), entry(7, 3), entry(6, 4)}, []raft.Index{6}, []raft.Term{4}, ""},
		{"a log that was replaced up to below it", []logRecord{entry(5, 2), entry(6, 2), entry(4, 3), entry(5, 3), entry(6, 3)}, []raft.Index{6}, []raft.Term{3}, ""},
		{"received, with its mark", []logRecord{entry(2, 2), entry(3, 2), mark(5, 3), entry(6, 3)}, []raft.Index{6}, []raft.Term{3}, ""},
		{"received in place of other entries", []logRecord{entry(5, 2), entry(6, 2), entry(7, 2), mark(5, 3), entry(6, 4)}, []raft.Index{6}, []raft.Term{4}, ""},
		{"received, its mark not on disk", []logRecord{entry(3, 2), entry(4, 2)}, nil, nil, ""},
		{"received in place of other entries, its mark not on disk", []logRecord{entry(5, 2), entry(6, 2), entry(7, 2)}, nil, nil, ""},
		{"one received earlier", []logRecord{mark(2, 2), entry(3, 3), entry(4, 3), entry(5, 3), entry(6, 3)}, []raft.Index{6}, []raft.Term{3}, ""},
		{"one received later is gone", []logRecord{entry(6, 3), mark(9, 3), entry(10, 3)}, nil, nil, "snapshot at index 9, which is missing"},
		{"a hole", []logRecord{entry(5, 3), entry(7, 3)}, nil, nil, "entry 7 follows entry 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newLogTail(snap.Meta{Index: 5, Term: 3}, nil)
			var err error
			for _, each := range tt.records {
				if err = each.replay(t, r); err != nil {
					break
				}
			}
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("replay = %v, want %s", err, tt.fails)
				}
				return
			}
			var got []raft.Index
			var terms []raft.Term
			for _, e := range r.entries {
				got, terms = append(got, e.Index), append(terms, e.Term)
			}
			if err != nil || !slices.Equal(got, tt.want) || !slices.Equal(terms, tt.terms) {
				t.Errorf("entries %v of terms %v, %v, want %v of %v", got, terms, err, tt.want, tt.terms)
			}
		})
	}
}
