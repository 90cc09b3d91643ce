package store

import (
	"strings"

	"github.com/tidwall/btree"
)

// deadline is one node that will expire. Equal times are ordered by key, so that all members agree (K88).
type deadline struct {
	at  Time // as the node has it
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

// Expire moves the log's time to t and removes at most most nodes whose deadline has come by then, the earliest first
// and equal ones by key, each with an event and an index of its own (K45, K84, K86). It returns how many it removed.
func (s *Store) Expire(t Time, most int) int {
	s.Pass(t)
	removed := 0
	for removed < most {
		first, ok := s.deadlines.Min()
		if !ok || first.at.shifted(s.clock.shift) > s.clock.now {
			break
		}
		n, err := find(s.root, first.key)
		assert(err == nil && n.deadline == first.at, "a deadline has its node")
		s.remove(ActionExpire, first.key, n)
		s.counters.expired++
		s.dirty = true
		removed++
	}
	return removed
}

// NextDeadline returns the earliest deadline, if any node has one.
func (s *Store) NextDeadline() (Time, bool) {
	first, ok := s.deadlines.Min()
	return first.at.shifted(s.clock.shift), ok
}

// Shift moves every deadline there is by gap nanoseconds, as a new leader does with the time nobody led, in which
// nobody could refresh anything (R51). It costs the same however many there are. A gap that is not positive does nothing.
func (s *Store) Shift(gap Duration) {
	if gap <= 0 {
		return
	}
	s.clock.shift = Duration(Time(s.clock.shift).shifted(gap))
	s.dirty = true
}

// Shifted is the sum of all gaps of Shift. Log time less Shifted is the time that counts.
func (s *Store) Shifted() Duration { return s.clock.shift }

// remember enters the deadline of the node at key, if it has one.
func (s *Store) remember(key string, at Time) {
	if at != 0 {
		s.deadlines.Set(deadline{at: at, key: key})
	}
}

// forget drops the deadline of the node at key, if it has one.
func (s *Store) forget(key string, at Time) {
	if at != 0 {
		s.deadlines.Delete(deadline{at: at, key: key})
	}
}

// forgetBelow drops the deadlines of all that is below the removed directory d at key. Directories without any below
// are passed over, so that removing a large permanent tree costs nothing.
func (s *Store) forgetBelow(key string, d *directory) {
	type place struct {
		d    *directory
		path string
	}
	if d == nil || d.timed == 0 {
		return
	}
	var c cursor
	for open := []place{{d, key}}; len(open) > 0; {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		c.start(top.d)
		for n := c.next(); n != nil; n = c.next() {
			if n.timedNodes() == 0 {
				continue
			}
			path := strings.Join([]string{top.path, n.name}, "/")
			s.forget(path, n.deadline)
			if n.dir != nil && n.dir.timed > 0 {
				open = append(open, place{n.dir, path})
			}
		}
	}
}
