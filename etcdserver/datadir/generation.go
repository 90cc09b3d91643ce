package datadir

import (
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// A generation of applied entries: so many, or so many bytes. One or two of them
// are kept in memory for slow followers. A member that is alone keeps few.
const (
	KeepBytes        = 32 << 20
	keepEntries      = 64 * 1024
	keepEntriesAlone = 8192
)

// KeepEntries is how many entries make a generation.
func KeepEntries(h *replica.Head) int {
	if len(h.Members.Members) <= 1 {
		return keepEntriesAlone
	}
	return keepEntries
}

// keptEntries are one or two generations of entries that were applied, as the
// raft loop keeps them (forget).
type keptEntries struct {
	base, middle raft.SnapshotMeta // before the older generation, and before the newer one
	older, newer batch
	bytes        int64 // of the newer one
}

// add keeps entries that led to a state. It gives the rooms of those it forgets.
func (k *keptEntries) add(b batch, state *replica.Head) (forgotten []room) {
	k.newer.entries = append(k.newer.entries, b.entries...)
	k.newer.rooms = append(k.newer.rooms, b.rooms...)
	for i := range b.entries {
		k.bytes += int64(len(b.entries[i].Data))
	}
	if len(k.newer.entries) < KeepEntries(state) && k.bytes < KeepBytes {
		return nil
	}
	forgotten = k.older.rooms
	clear(k.older.entries)
	k.older, k.newer = k.newer, batch{entries: k.older.entries[:0]}
	k.base, k.middle, k.bytes = k.middle, state.RaftMeta(), 0
	return forgotten
}
