package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"canopy/store/tree"
)

// Hash is equal for equal states: tree, index, log time, deadlines and counts of changes. It does not cover the history, since
// members may have different limits of it.
func (v *View) Hash() uint64 { return hashState(v.root.Dir().Hash(), v.index, v.clock, &v.counters) }

// Hash is the hash of the view that Publish would show now.
func (s *Store) Hash() uint64 {
	return hashState(s.tree.Root().Dir().Hash(), s.index, s.clock, &s.counters)
}

func hashState(nodes uint64, index Index, at tree.Clock, c *counters) uint64 {
	var b []byte
	for _, number := range []uint64{
		nodes, uint64(index), uint64(at.Now), uint64(at.Shift), c.expired,
		c.sets.ok, c.sets.failed, c.creates.ok, c.creates.failed, c.updates.ok, c.updates.failed,
		c.swaps.ok, c.swaps.failed, c.deletes.ok, c.deletes.failed, c.compareDeletes.ok, c.compareDeletes.failed,
	} {
		b = binary.LittleEndian.AppendUint64(b, number)
	}
	return xxhash.Sum64(b)
}
