package tree

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The hash of a tree is the sum of the hashes of its nodes. A write subtracts the nodes that it removes, and adds those that
// it makes. Each directory has the sum of all nodes below it, so members can compare whole trees at any index in O(1) (R12).
// The hash detects faults; it does not protect from somebody who constructs equal sums. What is hashed is frozen, because
// members of different versions compare it.

// pathHash is the hash of a path.
type pathHash uint64

func hashPath(path string) pathHash { return pathHash(xxhash.Sum64String(path)) }

// hash is the hash of the node at this path, without nodes below it.
func (n *Node) hash(path pathHash) uint64 {
	var b [41]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(path))
	binary.LittleEndian.PutUint64(b[8:], xxhash.Sum64String(n.Value()))
	binary.LittleEndian.PutUint64(b[16:], uint64(n.Created()))
	binary.LittleEndian.PutUint64(b[24:], uint64(n.Modified()))
	binary.LittleEndian.PutUint64(b[32:], uint64(n.Deadline()))
	if n.Dir() != nil {
		b[40] = 1
	}
	return xxhash.Sum64(b[:])
}

// hashAll is the sum over the node at this path and all below it.
func (n *Node) hashAll(path pathHash) uint64 {
	sum := n.hash(path)
	if n.Dir() != nil {
		sum += n.Dir().hash
	}
	return sum
}
