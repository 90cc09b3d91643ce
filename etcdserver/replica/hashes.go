package replica

import (
	"slices"

	"canopy/raft"
)

// hashesKept is how many agreed entries are remembered, so that members who apply
// them late are compared, too.
const hashesKept = 16

// StateHash is a member's state behind an agreed entry.
type StateHash struct {
	Index raft.Index
	Hash  uint64
}

// Hashes are those behind the latest agreed entries, the oldest first.
type Hashes []StateHash

// With gives the hashes with this one, and without the oldest if there are too many.
func (h Hashes) With(one StateHash) Hashes {
	h = slices.DeleteFunc(h, func(old StateHash) bool { return old.Index == one.Index })
	if len(h) == hashesKept {
		h = slices.Delete(h, 0, 1)
	}
	return append(h, one)
}

// At gives the one behind this entry.
func (h Hashes) At(index raft.Index) (StateHash, bool) {
	i := slices.IndexFunc(h, func(one StateHash) bool { return one.Index == index })
	if i < 0 {
		return StateHash{}, false
	}
	return h[i], true
}
