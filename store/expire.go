package store

import (
	"github.com/tidwall/btree"

	"canopy/store/tree"
	"canopy/store/watch"
)

// deadline is one node that will expire. Deadlines are ordered by time and then by key, so that all members agree (K88).
type deadline struct {
	at  Time // Node.Deadline
	key string
}

func newDeadlines() *btree.BTreeG[deadline] {
	less := func(a, b deadline) bool {
		if a.at != b.at {
			return a.at < b.at
		}
		return a.key < b.key
	}
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// Expire moves the log's time to t, and removes at most most nodes whose deadline has come, in the order of deadlines. Each
// gets an event and an index of its own (K45, K84, K86). Expire returns how many it removed.
func (s *Store) Expire(t Time, most int) int {
	s.Pass(t)
	removed := 0
	for removed < most {
		first, ok := s.deadlines.Min()
		if !ok || s.clock.Expiration(first.at) > s.clock.Now {
			break
		}
		n, at := tree.Find(s.tree.Root(), first.key)
		if n == nil || at < len(first.key) || n.Deadline() != first.at {
			panic("store: invariant broken: a deadline has its node")
		}
		s.remove(watch.ActionExpire, first.key, n)
		s.counters.expired++
		s.dirty = true
		removed++
	}
	return removed
}

// NextDeadline returns the time of the earliest deadline. ok is false if no node has one.
func (s *Store) NextDeadline() (at Time, ok bool) {
	first, ok := s.deadlines.Min()
	return s.clock.Expiration(first.at), ok
}

// Shift adds gap to all deadlines in O(1). A new leader does this with the time in which there was no leader, since nobody
// could refresh a key then (R51). A gap that is not positive does nothing.
func (s *Store) Shift(gap Duration) {
	if gap <= 0 {
		return
	}
	s.clock.Shift = Duration(Time(s.clock.Shift).Add(gap))
	s.dirty = true
}

// Shifted is the sum of all gaps of Shift. Log time less Shifted is the time in which there was a leader.
func (s *Store) Shifted() Duration { return s.clock.Shift }

// addDeadline adds the deadline of the node at key, if it has one.
func (s *Store) addDeadline(key string, at Time) {
	if at != 0 {
		s.deadlines.Set(deadline{at: at, key: key})
	}
}

// dropDeadline drops the deadline of the node at key, if it has one.
func (s *Store) dropDeadline(key string, at Time) {
	if at != 0 {
		s.deadlines.Delete(deadline{at: at, key: key})
	}
}

// dropDeadlinesBelow drops the deadlines of all nodes below d, a directory at key that was removed, or nil.
func (s *Store) dropDeadlinesBelow(key string, d *tree.Dir) {
	if d == nil {
		return
	}
	for path, at := range d.Deadlines(key) {
		s.dropDeadline(path, at)
	}
}
