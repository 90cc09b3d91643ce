package tree

import (
	"iter"
	"strings"
)

// Node is a file or a directory. It does not know its path or its parent. A node never changes after Put; only the Dir of a
// directory can change until the next Freeze.
type Node struct {
	name     string
	value    string // of a file
	created  Index  // 0 < created <= modified, except for the root, which has no indexes (K38)
	modified Index
	deadline Time // log time less the clock's shift; 0: permanent
	dir      *Dir // nil: a file
}

// NewNode makes a node for Put, which gives it a name. dir is nil for a file, and value is "" for a directory. A deadline of
// 0 means permanent.
func NewNode(value string, dir *Dir, created, modified Index, deadline Time) *Node {
	return &Node{value: value, created: created, modified: modified, deadline: deadline, dir: dir}
}

// Name is the last component of the node's path; "" for the root.
func (n *Node) Name() string { return n.name }

// Value is the value of a file.
func (n *Node) Value() string { return n.value }

// Created is the index of the change that made the node.
func (n *Node) Created() Index { return n.created }

// Modified is the index of the last change of the node.
func (n *Node) Modified() Index { return n.modified }

// Deadline is the log time at which the node expires, less the clock's shift; 0: never.
func (n *Node) Deadline() Time { return n.deadline }

// Dir is what a directory has more than a file; nil for a file.
func (n *Node) Dir() *Dir { return n.dir }

// Dir is what a directory has more than a file: its children, and sums over all nodes below it.
type Dir struct {
	epoch uint64 // epoch == Tree.epoch: the tree may change this in place
	root  *page  // nil: empty
	count int    // children
	timed int    // nodes anywhere below that have a deadline
	hash  uint64 // sum over all nodes below
}

// Len is the number of children.
func (d *Dir) Len() int { return d.count }

// Hash is equal for directories with equal nodes below them.
func (d *Dir) Hash() uint64 { return d.hash }

// Deadlines gives the paths and deadlines of all nodes below d, whose own path is given. It skips directories that have
// none below them, so that it costs nothing for a large permanent tree.
func (d *Dir) Deadlines(path string) iter.Seq2[string, Time] {
	type dirAt struct {
		d    *Dir
		path string
	}
	return func(yield func(string, Time) bool) {
		var c Cursor
		for open := []dirAt{{d, path}}; len(open) > 0; {
			top := open[len(open)-1]
			open = open[:len(open)-1]
			if top.d.timed == 0 {
				continue
			}
			c.Start(top.d)
			for n := c.Next(); n != nil; n = c.Next() {
				if n.timedNodes() == 0 {
					continue
				}
				path := strings.Join([]string{top.path, n.Name()}, "/")
				if n.Deadline() != 0 && !yield(path, n.Deadline()) {
					return
				}
				if n.Dir() != nil {
					open = append(open, dirAt{n.Dir(), path})
				}
			}
		}
	}
}

// fork returns a copy of the directory's node, with children that this epoch may change.
func (n *Node) fork(epoch uint64) *Node {
	copied, dir := *n, *n.dir
	dir.epoch = epoch
	copied.dir = &dir
	return &copied
}

// timedNodes counts the deadlines of n and all below it.
func (n *Node) timedNodes() int {
	count := 0
	if n.Deadline() != 0 {
		count++
	}
	if n.Dir() != nil {
		count += n.Dir().timed
	}
	return count
}

// Find goes down from root along key. It returns the node that it reaches, and how many bytes of key lead there. If the
// last component of these is missing, n is nil; if they are not all of key, n is a file, which has nothing below it.
func Find(root *Node, key string) (n *Node, at int) {
	n = root
	for rest := key; rest != ""; {
		if n.Dir() == nil {
			return n, len(key) - len(rest)
		}
		var name string
		name, rest = CutName(rest)
		if n = n.Dir().Get(name); n == nil {
			return nil, len(key) - len(rest)
		}
	}
	return n, len(key)
}

// assert stops the member when an invariant of the tree is broken: members that carried on would diverge. The text names
// the invariant. It is a constant, so that a check costs a comparison.
func assert(ok bool, what string) {
	if !ok {
		panic("tree: invariant broken: " + what)
	}
}
