// Package tree keeps nodes by their paths, in a tree that can be read while it changes.
//
//	Tree   the writing side, for one goroutine: Put, Remove, Freeze
//	Node   a file or a directory, immutable once it is frozen; any goroutine may read it
//	Dir    the children of a directory, in a B-tree of pages, and sums over all nodes below it
//
// The root of a frozen tree never changes, nor does anything below it: a Tree changes in place only what it has made since the
// last Freeze, and otherwise a copy. So readers keep a root for as long as they like, and take no lock; and Freeze copies
// nothing.
//
// Paths here are clean: "" for the root, else "/a/b". The package knows nothing of commands, events and JSON.
package tree

import "strings"

// Tree is a tree under change.
type Tree struct {
	root  *Node
	epoch uint64 // grows with each Freeze; page.epoch <= epoch and Dir.epoch <= epoch, and equal: made since the last Freeze

	path     []*Dir // the directories from the root down to opened
	opened   string // the path of the directory that was opened last
	openedIn uint64 // the epoch of that; 0: none was
}

// New returns a tree that has only a root.
func New() *Tree {
	t := &Tree{epoch: 1}
	t.root = NewNode("", t.NewDir(), 0, 0, 0)
	return t
}

// NewDir returns an empty directory for a node that will be Put.
func (t *Tree) NewDir() *Dir { return &Dir{epoch: t.epoch} }

// Root is the root as it is now. It can change until the next Freeze, and not afterwards.
func (t *Tree) Root() *Node { return t.root }

// Freeze ends all changes of what Root returns.
func (t *Tree) Freeze() {
	const kept = 4096 // directories, for the next path
	t.epoch++
	if cap(t.path) > kept {
		t.path = nil
	}
	clear(t.path[:cap(t.path)]) // keeps no removed directory alive
	t.path = t.path[:0]
}

// Replace makes the nodes of another tree, which must not be used any more, those of t. They are frozen.
func (t *Tree) Replace(from *Tree) {
	t.root, t.epoch = from.root, max(t.epoch, from.epoch)
	t.Freeze()
}

// Find is Find from the root. It is faster in the directory that was opened last.
func (t *Tree) Find(key string) (n *Node, at int) {
	if key != "" {
		if parent, name := SplitLast(key); t.isOpen(parent) {
			return t.path[len(t.path)-1].Get(name), len(key)
		}
	}
	return Find(t.root, key)
}

// Put stores n at key, in place of old, or of nothing if old is nil. It gives n its name. It makes directories above key that
// are missing, with n's index (K52). No node above key may be a file.
func (t *Tree) Put(key string, n, old *Node) {
	parent, name := SplitLast(key)
	d := t.open(parent, n.Created())
	path := hashPath(key)
	timed, hash := n.timedNodes(), n.hashAll(path)
	if old == nil {
		n.name = strings.Clone(name) // a part of key would keep all of it in memory
		d.insert(n)
	} else {
		n.name = old.Name()
		timed, hash = timed-old.timedNodes(), hash-old.hashAll(path)
		d.replace(name, n) // name is in the processor's cache; n.Name may not be
	}
	t.addBelow(timed, hash)
}

// Remove takes old, which is at key, out of the tree, with all below it.
func (t *Tree) Remove(key string, old *Node) {
	parent, name := SplitLast(key)
	t.open(parent, 0).remove(name)
	t.addBelow(-old.timedNodes(), -old.hashAll(hashPath(key)))
}

// open returns the directory at this path, which may then be changed in place, and puts it and those above it into t.path. It
// makes directories that are missing, with this index.
func (t *Tree) open(path string, created Index) *Dir {
	if t.isOpen(path) {
		return t.path[len(t.path)-1]
	}
	if t.root.Dir().epoch != t.epoch {
		t.root = t.root.fork(t.epoch)
	}
	d := t.root.Dir()
	t.path = append(t.path[:0], d)
	for rest := path; rest != ""; {
		var name string
		name, rest = CutName(rest)
		n := d.Get(name)
		switch {
		case n == nil:
			n = NewNode("", t.NewDir(), created, created, 0)
			n.name = strings.Clone(name)
			d.insert(n)
			t.addBelow(0, n.hash(hashPath(path[:len(path)-len(rest)])))
		case n.Dir().epoch != t.epoch:
			n = n.fork(t.epoch)
			d.replace(name, n)
		}
		d = n.Dir()
		t.path = append(t.path, d)
	}
	t.opened, t.openedIn = path, t.epoch
	return d
}

// isOpen reports whether t.path leads to this directory, and all directories of t.path may be changed in place. This saves
// many searches, since writes that follow one another often are to one directory. A directory that is removed is not open any
// more, since Remove opens its parent.
func (t *Tree) isOpen(path string) bool { return t.openedIn == t.epoch && t.opened == path }

// addBelow adds to the sums of the directories in t.path.
func (t *Tree) addBelow(timed int, hash uint64) {
	for _, d := range t.path {
		d.timed += timed
		d.hash += hash
	}
}
