// Package store keeps the tree of keys that clients see, its event history, its watchers and its deadlines.
//
// A Store is a machine without a world: commands come in, each with the log's time; events go out. Equal commands make
// equal stores, to the byte, on every member and for ever, so nothing in here reads a clock, uses random numbers, or depends on
// the order of a map.
//
//	          one goroutine                                   any goroutine
//	Apply, Expire ──> tree ──> Publish ──> View (immutable) ──> Get, Save
//	                    │         └──────> history, hub ──────> Watcher.Next
//	                    └─ deadlines
//
// Writes change a tree whose pages are shared with the views published before; what a batch of writes made it changes in
// place, all else it copies first. Publish, after each batch, shows the result to readers by one atomic store, keeps the
// batch's events as history, and hands them to watchers. Readers take no lock and hold up nobody.
//
// The store knows nothing of raft, members, HTTP or disks.
package store

import (
	"math"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// Index counts the successful mutations since the cluster began; the API calls it X-Etcd-Index.
type Index uint64

// Time is log time in nanoseconds since 1970, UTC. 0 means "none".
type Time int64

// Duration is a span of log time in nanoseconds.
type Duration int64

// Second is the unit of TTLs.
const Second Duration = 1_000_000_000

// shifted is t moved by d, which is not negative; it stops at the end of time rather than wrapping.
func (t Time) shifted(d Duration) Time {
	if t > math.MaxInt64-Time(d) {
		return math.MaxInt64
	}
	return t + Time(d)
}

// Options are the store's limits. The zero value means the defaults.
type Options struct {
	HistoryEvents int    // most events kept for watches from the past; default 100,000
	HistoryBytes  int64  // most bytes they may take in memory; default 64 MiB
	WatchQueue    int    // events a watcher may lag behind before it has to read them from history; default 128
	Memory        Memory // for the events that watchers have not read yet; default: no bound but WatchQueue
}

// Memory is a budget. It is called under locks, and must return at once.
type Memory interface {
	Try(bytes int64) bool
	Give(bytes int64)
}

// withDefaults fills in what is zero or senseless.
func (o Options) withDefaults() Options {
	if o.HistoryEvents <= 0 {
		o.HistoryEvents = 100_000
	}
	if o.HistoryBytes <= 0 {
		o.HistoryBytes = 64 << 20
	}
	if o.WatchQueue <= 0 {
		o.WatchQueue = 128
	}
	return o
}

// clock is what turns a stored deadline into an expiration and a ttl.
type clock struct {
	now   Time
	shift Duration
}

// Store is the tree and all that belongs to it. Apply, Expire, Pass, NextDeadline, Advance, Shift, Shifted, Hash, Publish,
// Wake and Replace are the writing side, for one goroutine; every other method may be called from any.
type Store struct {
	// The writing side's own.
	root      *node
	index     Index
	clock     clock // now is the log's time; shift is the sum of all gaps
	counters  counters
	deadlines *btree.BTreeG[deadline]
	epoch     uint64  // names the batch since the last Publish
	pending   []event // since the last Publish, for history and watchers
	held      int64   // bytes of memory that pending takes
	dirty     bool    // something changed since the last Publish

	path     []*directory // the directories down to opened
	opened   string       // the directory that was opened last
	openedIn uint64       // the epoch of that; 0: none was
	teller   teller       // of events that are made at once
	late     *late        // events that are made later; nil: none is

	// Shared.
	view      atomic.Pointer[View]
	hub       hub
	getsOK    atomic.Uint64
	getsWrong atomic.Uint64
}

// event is an Event with what only this batch's watchers need of it.
type event struct {
	*Event
	removed *directory // the children of the directory that was removed, if one was
}

// New returns an empty store: index 0, time 0, history from index 1 on.
func New(o Options) *Store {
	s := &Store{epoch: 1, deadlines: newDeadlines()}
	s.root = newRoot(s.epoch)
	s.hub.start(o.withDefaults())
	s.dirty = true
	s.Publish()
	return s
}

// Advance counts an internal mutation (K4, K46): the index grows by one, and nothing else happens.
func (s *Store) Advance() Index {
	s.dirty = true
	s.index++
	return s.index
}

// Pass lets the log's time pass until t; it never goes back. Nothing expires by that alone.
func (s *Store) Pass(t Time) {
	if t > s.clock.now {
		s.clock.now, s.dirty = t, true
	}
}

// Publish shows all that was done since the last Publish: readers get a new view, the events enter the history, and
// watchers have them. Those that wait are woken, the first few at once and the rest by Wake. A reader that has seen a
// view can no longer register a watcher as of before it (K91).
func (s *Store) Publish() {
	if s.late != nil {
		s.enterLate()
	}
	if !s.dirty {
		return
	}
	v := &View{root: s.root, index: s.index, clock: s.clock, counters: s.counters}
	s.hub.publish(v, s.pending, &s.view)
	s.pending, s.path = reusable(s.pending), reusable(s.path)
	s.held = 0
	s.epoch++
	s.dirty = false
}

// Held is the memory that events take which are not published yet, in bytes.
func (s *Store) Held() int64 { return s.held }

// Wake wakes some of the watchers that wait and have got an event, and reports whether there are more. It is to be called
// until there are none. An event for thousands would keep the next write waiting, were they all woken at once; and those
// whose turn comes late get several events together.
func (s *Store) Wake() (more bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.wake()
}

// reusable empties a scratch slice, so that it keeps nothing alive, and drops it when it has grown large.
func reusable[T any](s []T) []T {
	const most = 4096
	if cap(s) > most {
		return nil
	}
	clear(s[:cap(s)])
	return s[:0]
}

// Replace installs the state of a loaded store, such as a leader's snapshot, in place of s's own; from must not be used
// any more. Watchers stay: those whose next index is still in the new history get what they missed, the others end
// (K114).
func (s *Store) Replace(from *Store) {
	s.root, s.index, s.clock, s.counters = from.root, from.index, from.clock, from.counters
	s.deadlines = from.deadlines
	s.epoch = max(s.epoch, from.epoch) + 1
	s.pending, s.held, s.dirty = nil, 0, false
	v := &View{root: s.root, index: s.index, clock: s.clock, counters: s.counters}
	s.hub.replace(v, from.hub.past(), &s.view)
	s.epoch++
}
