package rafttest

import (
	"slices"

	"canopy/raft"
)

// storage is a log, with the snapshot before it, as a disk has it.
type storage struct {
	hard    raft.HardState
	snap    raft.SnapshotMeta
	entries []raft.Entry // behind snap
}

func (s *storage) write(w *raft.Write) {
	if w.Snapshot != nil {
		s.snap, s.entries = *w.Snapshot, nil
	}
	if len(w.Entries) > 0 {
		s.append(w.Entries)
	}
	if w.HardState != nil {
		s.hard = *w.HardState
	}
}

// tear writes the first records of w: the mark of its snapshot, if it has one, and then entries. The hard state comes last.
func (s *storage) tear(w *raft.Write, records uint64) {
	if records == 0 {
		return
	}
	part := raft.Write{Seq: w.Seq, Snapshot: w.Snapshot}
	if w.Snapshot != nil {
		records--
	}
	part.Entries = w.Entries[:min(records, uint64(len(w.Entries)))]
	s.write(&part)
}

func (s *storage) append(entries []raft.Entry) {
	first := entries[0].Index
	check(first > s.snap.Index && first <= s.last()+1, "a write begins at %d, and the disk has (%d, %d]", first, s.snap.Index, s.last())
	s.entries = append(slices.Clip(s.entries[:first-s.snap.Index-1]), entries...)
}

func (s *storage) last() raft.Index { return s.snap.Index + raft.Index(len(s.entries)) }

// at gives an entry, which must be there and behind the snapshot.
func (s *storage) at(i raft.Index) *raft.Entry { return &s.entries[i-s.snap.Index-1] }

// has tells whether an entry is there, or in the snapshot.
func (s *storage) has(i raft.Index, t raft.Term) bool {
	return i <= s.snap.Index || i <= s.last() && s.at(i).Term == t
}
