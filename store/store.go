// Package store keeps what clients see: a tree of keys, its deadlines, and the events of its changes.
//
// A Store is a pure state machine: commands come in, each with the log's time, and events go out. Equal commands make equal
// stores, to the byte, on every member and for ever. So nothing here reads a clock, uses random numbers, or depends on the
// order of a map.
//
//	          one goroutine                                   any goroutine
//	Apply, Expire ──> tree ──> Publish ──> View (immutable) ──> Get, Save
//	       │             │        └──────> history, hub ──────> Watcher.Next
//	       └─> events    └─ deadlines
//
// Writes change a tree whose pages are shared with the views that were published before. A batch of writes changes in place
// what it has made, and copies all else first. After each batch, Publish shows the result to readers by one atomic store,
// adds the batch's events to the history, and gives them to watchers. Readers take no lock and delay nobody.
//
// Three packages below it can be read alone: tree has the nodes and their hash, nodejson their JSON, and watch the events,
// their history and the watchers. The store knows nothing of raft, members, HTTP or disks.
package store

import (
	"sync/atomic"

	"github.com/tidwall/btree"

	"canopy/store/tree"
	"canopy/store/watch"
)

// Index, Time and Duration are what a store and its tree count in. They belong to package tree, and have names here because
// commands and views have them, too.
type (
	Index    = tree.Index    // counts the successful mutations since the cluster began; the API calls it X-Etcd-Index
	Time     = tree.Time     // log time in nanoseconds since 1970, UTC; 0 means "none"
	Duration = tree.Duration // a span of log time in nanoseconds
)

// Second is the unit of TTLs.
const Second = tree.Second

// Options are the limits of history and watchers. The zero value means the defaults.
type Options watch.Limits

// Store is the tree and all that belongs to it. Apply, Expire, Pass, NextDeadline, Advance, Shift, Shifted, Hash, Held,
// Publish, Wake, Replace and DeferEvents are the writing side, for one goroutine. Any goroutine may call the other methods.
type Store struct {
	// Only the writing side uses these.
	tree      *tree.Tree
	index     Index
	clock     tree.Clock // the log's time, and the sum of all gaps
	counters  counters
	deadlines *btree.BTreeG[deadline] // of all nodes in tree that have one
	events    *watch.Publisher
	dirty     bool // something has changed since the last Publish

	// These are shared.
	view       atomic.Pointer[View]
	hub        *watch.Hub
	getsOK     atomic.Uint64
	getsFailed atomic.Uint64
}

// New returns an empty store: index 0, time 0, history from index 1 on.
func New(o Options) *Store {
	s := newStore(o)
	s.dirty = true
	s.Publish()
	return s
}

// newStore returns an empty store without a view.
func newStore(o Options) *Store {
	hub := watch.NewHub(watch.Limits(o))
	return &Store{tree: tree.New(), deadlines: newDeadlines(), hub: hub, events: watch.NewPublisher(hub)}
}

// Advance counts an internal mutation (K4, K46): the index grows by one, and nothing else happens.
func (s *Store) Advance() Index {
	s.dirty = true
	s.index++
	return s.index
}

// Pass lets the log's time pass until t. It never goes back, and nothing expires by that alone.
func (s *Store) Pass(t Time) {
	if t > s.clock.Now {
		s.clock.Now, s.dirty = t, true
	}
}

// Publish shows all changes since the last Publish: readers get a new view, and the events go to the history and to
// watchers. It wakes the first few of the watchers that wait, and Wake the others. A reader that has seen a view can no
// longer register a watcher as of before it (K91).
func (s *Store) Publish() {
	s.events.Undefer()
	if !s.dirty {
		return
	}
	s.events.Publish(s.index, s.show)
	s.tree.Freeze()
	s.dirty = false
}

// show makes the state of now the view.
func (s *Store) show(past watch.History) {
	s.view.Store(&View{root: s.tree.Root(), index: s.index, clock: s.clock, counters: s.counters, history: past})
}

// Held is the memory that events take which were not published yet, in bytes.
func (s *Store) Held() int64 { return s.events.Held() }

// Wake wakes some of the watchers that wait and have got an event, and reports whether there are more. The caller calls it
// until there are none, after it has let the next writes go first: they must not wait until thousands are woken.
func (s *Store) Wake() (more bool) { return s.events.Wake() }

// Replace installs the state of a loaded store, such as a leader's snapshot, in place of s's own. from must not be used any
// more. Watchers stay: those whose next index is in the new history get what they have missed, and the others end (K114).
func (s *Store) Replace(from *Store) {
	s.tree.Replace(from.tree)
	s.index, s.clock, s.counters, s.deadlines = from.index, from.clock, from.counters, from.deadlines
	s.dirty = false
	s.events.Replace(s.index, from.hub.History(), s.show)
}
