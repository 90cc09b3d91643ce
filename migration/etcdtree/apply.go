package etcdtree

import (
	"strconv"

	"canopy/store/tree"
	"canopy/store/watch"
)

// Request is a change of one node. Deadlines are nanoseconds since 1970; 0 is none.
type Request struct {
	Path      string
	Value     string
	Dir       bool
	Recursive bool
	Refresh   bool
	Expires   int64
	PrevValue string
	PrevIndex uint64
	Time      int64 // of a sync
}

// newerThan is 2000-01-01: an earlier deadline of a new node counts as none (G35).
const newerThan = 946_684_800 * int64(tree.Second)

// deadlineOf is the deadline of a node that is made.
func deadlineOf(ns int64) tree.Time {
	if ns < newerThan {
		return 0
	}
	return min(tree.Time(ns), DeadlineLast)
}

// Set writes a file, or makes a directory. Each operation tells whether it succeeded; a failure changes nothing (G38).
func (s *State) Set(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	old, blocked := p.find()
	switch {
	case blocked, old == nil && r.Refresh, old != nil && old.Dir() != nil:
		return false
	}
	s.index++
	value, dir := r.Value, (*tree.Dir)(nil)
	switch {
	case r.Refresh:
		value = old.Value()
	case r.Dir:
		value, dir = "", p.in.NewDir()
	}
	n := tree.NewNode(value, dir, s.index, s.index, deadlineOf(r.Expires))
	s.put(p, n, old)
	s.changed(watch.ActionSet, p, n, old, r.Refresh)
	return true
}

// Create makes a node that is not there.
func (s *State) Create(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	if old, blocked := p.find(); blocked || old != nil {
		return false
	}
	s.index++
	n := tree.NewNode(r.Value, nil, s.index, s.index, deadlineOf(r.Expires))
	if r.Dir {
		n = tree.NewNode("", p.in.NewDir(), s.index, s.index, n.Deadline())
	}
	s.put(p, n, nil)
	s.changed(watch.ActionCreate, p, n, nil, false)
	return true
}

// CreateInOrder makes a child that is named by the new index.
func (s *State) CreateInOrder(r Request) bool {
	name := strconv.FormatUint(uint64(s.index)+1, 10)
	if s.Rules.Padded {
		const zeros = "00000000000000000000"
		name = zeros[len(name):] + name
	}
	r.Path += "/" + name
	return s.Create(r)
}

// Update changes a file, or the deadline of a directory, whose node keeps its index (G53).
func (s *State) Update(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	old, _ := p.find()
	switch {
	case old == nil:
		return false
	case old.Dir() != nil && (s.Rules.FixedDirs || r.Value != "" && !r.Refresh):
		return false
	}
	s.change(watch.ActionUpdate, p, old, r)
	return true
}

// CompareAndSwap changes a file that is as expected.
func (s *State) CompareAndSwap(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	old, _ := p.find()
	if !matches(old, r) {
		return false
	}
	s.change(watch.ActionCompareAndSwap, p, old, r)
	return true
}

func matches(old *tree.Node, r Request) bool {
	return old != nil && old.Dir() == nil &&
		(r.PrevValue == "" || r.PrevValue == old.Value()) &&
		(r.PrevIndex == 0 || tree.Index(r.PrevIndex) == old.Modified())
}

func (s *State) change(a watch.Action, p place, old *tree.Node, r Request) {
	s.index++
	value := r.Value
	if old.Dir() != nil || r.Refresh {
		value = old.Value()
	}
	at := min(tree.Time(r.Expires), DeadlineLast)
	n := tree.NewNode(value, old.Dir(), old.Created(), s.index, at)
	shown := n
	if old.Dir() != nil {
		n = tree.NewNode("", old.Dir(), old.Created(), old.Modified(), at)
	}
	s.put(p, n, old)
	s.changed(a, p, shown, old, r.Refresh)
}

// Delete removes a file, an empty directory, or a directory with all below it.
func (s *State) Delete(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	old, _ := p.find()
	switch {
	case old == nil:
		return false
	case old.Dir() == nil || r.Recursive:
	case !r.Dir, old.Dir().Len() > 0:
		return false
	}
	s.remove(watch.ActionDelete, p, old)
	return true
}

// CompareAndDelete removes a file that is as expected.
func (s *State) CompareAndDelete(r Request) bool {
	p, ok := s.place(r.Path)
	if !ok || p.readOnly() {
		return false
	}
	old, _ := p.find()
	if !matches(old, r) {
		return false
	}
	s.remove(watch.ActionCompareAndDelete, p, old)
	return true
}

// Sync expires all nodes whose deadline has come, the earliest first.
func (s *State) Sync(ns int64) bool {
	s.Saw(ns)
	for {
		first, ok := s.deadlines.Min()
		if !ok || first.at > tree.Time(ns) {
			return true
		}
		p, _ := s.place(first.path)
		old, _ := p.find()
		s.remove(watch.ActionExpire, p, old)
	}
}

// IsDir tells whether a path is that of a directory.
func (s *State) IsDir(path string) bool {
	p, ok := s.place(path)
	if !ok {
		return false
	}
	n, _ := p.find()
	return n != nil && n.Dir() != nil
}

// Get gives the value of a file.
func (s *State) Get(path string) (string, bool) {
	p, ok := s.place(path)
	if !ok {
		return "", false
	}
	n, _ := p.find()
	if n == nil || n.Dir() != nil {
		return "", false
	}
	return n.Value(), true
}

// List gives the names in a directory, sorted.
func (s *State) List(path string) (names []string) {
	p, ok := s.place(path)
	if !ok {
		return nil
	}
	n, _ := p.find()
	if n == nil || n.Dir() == nil {
		return nil
	}
	var c tree.Cursor
	c.Start(n.Dir())
	for n := c.Next(); n != nil; n = c.Next() {
		names = append(names, n.Name())
	}
	return names
}
