package datadir

import (
	"fmt"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/snap"
	"canopy/wal"
)

// logTail is the log since a snapshot, as it is being read. What is known to be
// committed it hands out, so that a log of any length takes little memory.
type logTail struct {
	from     snap.Meta         // of the snapshot; zero: from the beginning
	take     func(batch) error // is given committed entries; nil: all are kept
	hard     raft.HardState    // the latest
	handed   raft.Index        // given to take, up to here
	entries  []raft.Entry      // behind those
	known    int               // so many of entries are known to be committed
	bytes    int               // of their data
	detached bool              // the log's entry at the snapshot's index is another one, or not reached yet
	room     room              // for data of the next entries
	filled   []room            // whose entries were not all handed out
	free     chan []byte       // memory of rooms to be used again; nil: there is none
}

// A batch of entries: so many, or so many bytes of them and one entry more.
const (
	tailBatchEntries = 512
	tailBatchBytes   = 256 << 10
)

// batch is what is handed out at once.
type batch struct {
	entries []raft.Entry
	rooms   []room // those filled by these entries, and by none that come later
}

func newLogTail(from snap.Meta, take func(batch) error) *logTail {
	return &logTail{from: from, handed: raft.Index(from.Index), take: take}
}

// record takes one record. An entry whose index was already seen replaces that
// one and all after it.
func (t *logTail) record(kind wal.Kind, index uint64, payload []byte) error {
	switch kind {
	case EntryRecord:
		return t.entry(index, payload)
	case SnapshotRecord:
		return t.mark(index, payload)
	case HardStateRecord:
		return t.hardState(payload)
	}
	return fmt.Errorf("a record is of the unknown kind %d", kind)
}

// hardState learns what is committed: it is written behind the entries that it
// speaks of, and they are never replaced.
func (t *logTail) hardState(payload []byte) error {
	var m pb.HardState
	if err := m.UnmarshalVT(payload); err != nil {
		return fmt.Errorf("a hard state record cannot be read: %w", err)
	}
	t.hard = raft.HardState{Term: raft.Term(m.Term), Vote: raft.MemberID(m.Vote), Commit: raft.Index(m.Commit)}
	if t.detached || t.take == nil {
		return nil
	}
	for t.known < len(t.entries) && t.entries[t.known].Index <= t.hard.Commit {
		t.bytes += len(t.entries[t.known].Data)
		t.known++
	}
	if t.known < tailBatchEntries && t.bytes < tailBatchBytes {
		return nil
	}
	return t.hand()
}

// hand hands out all that is known to be committed.
func (t *logTail) hand() error {
	rest := append(make([]raft.Entry, 0, tailBatchEntries), t.entries[t.known:]...)
	known := t.entries[:t.known]
	for len(known) > 0 {
		n, bytes := 0, 0
		for n < len(known) && n < tailBatchEntries && bytes < tailBatchBytes {
			bytes += len(known[n].Data)
			n++
		}
		last := known[n-1].Index
		if err := t.take(batch{known[:n:n], t.filledUpTo(last)}); err != nil {
			return err
		}
		t.handed, known = last, known[n:]
	}
	t.entries, t.known, t.bytes = rest, 0, 0
	return nil
}

// mark begins the log anew behind a snapshot that was received.
func (t *logTail) mark(index uint64, payload []byte) error {
	var m pb.SnapshotMark
	if err := m.UnmarshalVT(payload); err != nil {
		return fmt.Errorf("the mark of snapshot %d cannot be read: %w", index, err)
	}
	if index > t.from.Index {
		return fmt.Errorf("it goes on from a snapshot at index %d, which is missing or cannot be read", index)
	}
	return t.restart(index, m.Term)
}

// restart forgets what was read before an entry that is not behind the snapshot.
func (t *logTail) restart(index, term uint64) error {
	if t.known > 0 || t.handed > raft.Index(t.from.Index) {
		return t.replaced(index)
	}
	t.entries = nil
	t.detached = index < t.from.Index || term != t.from.Term
	return nil
}

// replaced refuses a log that takes back what it said was committed.
func (t *logTail) replaced(by uint64) error {
	return fmt.Errorf("entry %d comes behind entry %d, which was committed", by, t.handed+raft.Index(t.known))
}

// entry takes an entry behind the snapshot, if the log before it is that of the
// snapshot: one that was received while the log held other entries, and whose
// mark did not reach the disk, voids them.
func (t *logTail) entry(index uint64, payload []byte) error {
	var m pb.Entry
	if err := m.UnmarshalVTUnsafe(payload); err != nil {
		return fmt.Errorf("entry %d cannot be read: %w", index, err)
	}
	if index <= t.from.Index {
		return t.restart(index, m.Term)
	}
	if t.detached {
		return nil
	}
	last := uint64(t.handed) + uint64(len(t.entries))
	if index > last+1 {
		return fmt.Errorf("entry %d follows entry %d: those between are missing", index, last)
	}
	if index <= uint64(t.handed)+uint64(t.known) {
		return t.replaced(index)
	}
	t.entries = append(t.entries[:index-uint64(t.handed)-1], raft.Entry{
		Index: raft.Index(index), Term: raft.Term(m.Term), Type: raft.EntryType(m.Type), Data: t.keep(raft.Index(index), m.Data),
	})
	return nil
}

// Data of entries lies side by side, in pieces of memory of this size; long data lies by itself.
const (
	roomBytes    = 64 << 10
	roomEntryMax = roomBytes / 8
)

// room is one of them.
type room struct {
	memory []byte
	last   raft.Index // the greatest of an entry in it
}

// keep copies data of an entry.
func (t *logTail) keep(index raft.Index, data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	if len(data) > roomEntryMax {
		return append(make([]byte, 0, len(data)), data...)
	}
	if cap(t.room.memory)-len(t.room.memory) < len(data) {
		t.nextRoom()
	}
	from := len(t.room.memory)
	t.room.memory = append(t.room.memory, data...)
	t.room.last = max(t.room.last, index)
	return t.room.memory[from:len(t.room.memory):len(t.room.memory)]
}

func (t *logTail) nextRoom() {
	if t.free != nil && t.room.memory != nil {
		t.filled = append(t.filled, t.room)
	}
	select {
	case memory := <-t.free:
		t.room = room{memory: memory[:0]}
	default:
		t.room = room{memory: make([]byte, 0, roomBytes)}
	}
}

// filledUpTo takes the rooms that have no entry behind this one.
func (t *logTail) filledUpTo(last raft.Index) (rooms []room) {
	n := 0
	for n < len(t.filled) && t.filled[n].last <= last {
		n++
	}
	rooms, t.filled = t.filled[:n:n], t.filled[n:]
	return rooms
}
