package store

import (
	"canopy/store/tree"
	"canopy/store/watch"
)

// Parts are the state of another server, from which Assemble makes a store.
type Parts struct {
	Tree   *tree.Tree // taken over
	Index  Index
	Time   Time           // log time up to which deadlines have counted; 0: they are times of day
	Oldest Index          // the lowest index from which a watch is possible
	Past   []watch.Change // from Oldest on, in the order of their indexes
}

// Assemble makes a store of what another server kept. The caller has checked the nodes: their indexes lie between 1 and Index.
func Assemble(p Parts, o Options) *Store {
	s := newStore(o)
	s.tree, s.index, s.clock = p.Tree, p.Index, tree.Clock{Now: p.Time}
	for path, at := range p.Tree.Root().Dir().Deadlines("") {
		s.addDeadline(path, at)
	}
	s.events.Restore(p.Oldest)
	s.events.Defer()
	for i := range p.Past {
		s.events.Add(&p.Past[i])
	}
	s.dirty = true
	s.Publish()
	return s
}
