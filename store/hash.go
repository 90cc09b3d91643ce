package store

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The hash of a tree is the sum of the hashes of its nodes. So a write changes it by what it takes out and puts in, a
// directory knows the sum of all below it, and members can compare whole trees at any index for next to nothing (R12).
// It finds faults, not forgers. What is hashed is frozen: members of different versions compare it.

// pathHash is what the hash of a node has of its path.
type pathHash uint64

func hashPath(path string) pathHash { return pathHash(xxhash.Sum64String(path)) }

// hash is that of the node at this path alone.
func (n *node) hash(path pathHash) uint64 {
	var b [41]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(path))
	binary.LittleEndian.PutUint64(b[8:], xxhash.Sum64String(n.value))
	binary.LittleEndian.PutUint64(b[16:], uint64(n.created))
	binary.LittleEndian.PutUint64(b[24:], uint64(n.modified))
	binary.LittleEndian.PutUint64(b[32:], uint64(n.deadline))
	if n.dir != nil {
		b[40] = 1
	}
	return xxhash.Sum64(b[:])
}

// hashAll is the sum over the node at this path and all below it.
func (n *node) hashAll(path pathHash) uint64 {
	sum := n.hash(path)
	if n.dir != nil {
		sum += n.dir.hash
	}
	return sum
}

// Hash is equal for equal states: tree, index, log time, deadlines and counts of changes. The history is not part of
// it, since its bounds may differ.
func (v *View) Hash() uint64 { return hashState(v.root, v.index, v.clock, &v.counters) }

// Hash is that of a view that were published now.
func (s *Store) Hash() uint64 { return hashState(s.root, s.index, s.clock, &s.counters) }

func hashState(root *node, index Index, at clock, c *counters) uint64 {
	var b []byte
	for _, number := range []uint64{
		root.dir.hash, uint64(index), uint64(at.now), uint64(at.shift), c.expired,
		c.sets.ok, c.sets.failed, c.creates.ok, c.creates.failed, c.updates.ok, c.updates.failed,
		c.swaps.ok, c.swaps.failed, c.deletes.ok, c.deletes.failed, c.compareDeletes.ok, c.compareDeletes.failed,
	} {
		b = binary.LittleEndian.AppendUint64(b, number)
	}
	return xxhash.Sum64(b)
}
