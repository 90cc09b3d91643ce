// Package etcdtree is the state of an etcd v2 server, as its snapshots hold it and its log makes it: one tree of keys, the
// server's own nodes beside them, one index, deadlines and the latest events.
//
//	snapshot ──Load──▶ State ──Parts──▶ store.Assemble
//	log ──Apply───────▶  │
//	                     └──▶ Users, Members, Version
//
// It follows the rules of the old servers where they differ from ours: deadlines are times, names in order may be short, and
// nothing expires but by an entry of the log. It reads no files.
package etcdtree

import (
	"math"
	"strings"

	"github.com/tidwall/btree"

	"canopy/store"
	"canopy/store/tree"
	"canopy/store/watch"
)

// Rules are how the server that wrote a log applied it.
type Rules struct {
	Flat        bool // keys lie at the root and not below /1: 0.4 (G41, G45)
	Padded      bool // names in order have 20 digits (G36)
	FixedDirs   bool // every update of a directory fails: 3.5 (G34)
	PlainUpdate bool // prevExist=true makes the other conditions void: before 2.0.10 (G34)
}

// State is the state as of one entry. One goroutine uses it.
type State struct {
	Rules Rules

	keys      *tree.Tree // what clients see; paths without /1
	own       *tree.Tree // all else, with whole paths; empty in 0.4
	index     tree.Index
	deadlines *btree.BTreeG[deadline]
	now       tree.Time // latest time that the source tells of; 0: none

	past   []watch.Change // events[first:] have consecutive history
	first  int
	bytes  int64
	oldest tree.Index // the lowest index from which events are known
}

type deadline struct {
	at   tree.Time
	path string // whole, so that all members of the old cluster would agree
}

// Most events that are kept, and bytes of them.
const (
	pastEvents = 100_000
	pastBytes  = 64 << 20
)

// DeadlineLast is the last time that a deadline can have; later ones become it.
const DeadlineLast tree.Time = 9_214_646_400 * tree.Time(tree.Second)

// New is the state before the first entry.
func New(r Rules) *State {
	return &State{Rules: r, keys: tree.New(), own: tree.New(), deadlines: newDeadlines(), oldest: 1}
}

func newDeadlines() *btree.BTreeG[deadline] {
	less := func(a, b deadline) bool {
		if a.at != b.at {
			return a.at < b.at
		}
		return a.path < b.path
	}
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// Index is the store index.
func (s *State) Index() uint64 { return uint64(s.index) }

// Now is the latest time that the source tells of, in nanoseconds; 0: none.
func (s *State) Now() int64 { return int64(s.now) }

// Saw notes a time that the source tells of.
func (s *State) Saw(ns int64) { s.now = max(s.now, tree.Time(ns)) }

// place is where a path lies.
type place struct {
	in   *tree.Tree
	key  string // clean path in that tree; "": its root
	path string // the whole path
}

// find cleans a path, and tells where it lies. The root of a tree that clients see is read-only, as is that of others.
func (s *State) place(raw string) (place, bool) {
	path, ok := clean(raw)
	if !ok {
		return place{}, false
	}
	if s.Rules.Flat {
		return place{s.keys, path, path}, true
	}
	if key, found := strings.CutPrefix(path, "/1"); found && (key == "" || key[0] == '/') {
		return place{s.keys, key, path}, true
	}
	return place{s.own, path, path}, true
}

// clean resolves empty, "." and ".." names as the old servers do: ".." at the root stays there.
func clean(raw string) (string, bool) {
	key, err := store.ParseKey(raw)
	for err == store.ErrAboveRoot {
		raw = dropAbove(raw)
		key, err = store.ParseKey(raw)
	}
	if err != nil {
		return "", false
	}
	if key.IsRoot() {
		return "", true
	}
	return key.String(), true
}

// dropAbove removes the first ".." that leads above the root.
func dropAbove(raw string) string {
	names := strings.Split(raw, "/")
	depth := 0
	for i, name := range names {
		switch name {
		case "", ".":
		case "..":
			if depth == 0 {
				names[i] = "."
				return strings.Join(names, "/")
			}
			depth--
		default:
			depth++
		}
	}
	return raw
}

// readOnly tells whether a path is the root or a namespace (G33).
func (p place) readOnly() bool { return p.key == "" || p.key == "/0" }

func (p place) find() (n *tree.Node, blocked bool) {
	n, at := p.in.Find(p.key)
	if n != nil && at < len(p.key) {
		return nil, true
	}
	return n, false
}

// put stores a node.
func (s *State) put(p place, n, old *tree.Node) {
	p.in.Put(p.key, n, old)
	if old != nil {
		s.drop(p.path, old.Deadline())
	}
	if n.Deadline() != 0 {
		s.deadlines.Set(deadline{n.Deadline(), p.path})
	}
}

func (s *State) drop(path string, at tree.Time) {
	if at != 0 {
		s.deadlines.Delete(deadline{at, path})
	}
}

// remove removes a node, and all below it.
func (s *State) remove(a watch.Action, p place, old *tree.Node) {
	s.index++
	p.in.Remove(p.key, old)
	s.drop(p.path, old.Deadline())
	c := watch.Change{Action: a, Index: s.index, Old: old}
	if old.Dir() != nil {
		for path, at := range old.Dir().Deadlines(p.path) {
			s.drop(path, at)
		}
		c.Flags = watch.FlagDirRemoved
	}
	s.happened(p, c)
}

// changed notes what was done to a node.
func (s *State) changed(a watch.Action, p place, n, old *tree.Node, silent bool) {
	c := watch.Change{Action: a, Index: s.index, Node: n, Old: old, Silent: silent}
	if old == nil {
		c.Flags = watch.FlagCreated
	}
	s.happened(p, c)
}

// happened keeps an event that clients may see. Which time it was the log does not say: a ttl counts from the latest time known,
// and is left out if there is none (G30).
func (s *State) happened(p place, c watch.Change) {
	if p.in != s.keys || c.Silent || p.key == "" {
		return
	}
	c.Key = p.key
	c.Clock = tree.Clock{Now: s.now}
	if s.now == 0 {
		c.Clock.Now = math.MaxInt64
	}
	s.keep(c)
}

// anyDir stands for the children of directories in events.
var anyDir = tree.New().NewDir()

func (s *State) keep(c watch.Change) {
	for _, n := range []**tree.Node{&c.Node, &c.Old} {
		if *n != nil && (*n).Dir() != nil {
			*n = tree.NewNode("", anyDir, (*n).Created(), (*n).Modified(), (*n).Deadline())
		}
	}
	s.past = append(s.past, c)
	s.bytes += sizeOf(&c)
	for len(s.past)-s.first > pastEvents || s.bytes > pastBytes && len(s.past)-s.first > 1 {
		s.oldest = s.past[s.first].Index + 1
		s.bytes -= sizeOf(&s.past[s.first])
		s.past[s.first] = watch.Change{}
		s.first++
	}
	if s.first > pastEvents {
		s.past, s.first = append([]watch.Change(nil), s.past[s.first:]...), 0
	}
}

func sizeOf(c *watch.Change) int64 {
	size := int64(len(c.Key)) + 200
	for _, n := range []*tree.Node{c.Node, c.Old} {
		if n != nil {
			size += int64(len(n.Value()))
		}
	}
	return size
}

// Parts gives what clients see, for a store. The State must not be used afterwards.
func (s *State) Parts() store.Parts {
	return store.Parts{Tree: s.keys, Index: s.index, Time: s.now, Oldest: s.oldest, Past: s.past[s.first:]}
}

// DropInternal removes what 0.4 keeps for itself below /_etcd, without an event (G47).
func (s *State) DropInternal() {
	if n, at := s.keys.Find("/_etcd"); n != nil && at == len("/_etcd") {
		s.keys.Remove("/_etcd", n)
	}
	kept := s.past[s.first:s.first]
	for _, c := range s.past[s.first:] {
		if c.Key != "/_etcd" && !strings.HasPrefix(c.Key, "/_etcd/") {
			kept = append(kept, c)
		}
	}
	s.past = s.past[:s.first+len(kept)]
}

// Replaced counts values with U+FFFD: those that were not UTF-8 have lost bytes (G29).
func (s *State) Replaced() (count uint64) {
	var c tree.Cursor
	for open := []*tree.Dir{s.keys.Root().Dir()}; len(open) > 0; {
		d := open[len(open)-1]
		open = open[:len(open)-1]
		c.Start(d)
		for n := c.Next(); n != nil; n = c.Next() {
			if n.Dir() != nil {
				open = append(open, n.Dir())
			} else if strings.Contains(n.Value(), "\uFFFD") {
				count++
			}
		}
	}
	return count
}
