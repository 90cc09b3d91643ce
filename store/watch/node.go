package watch

import (
	"iter"
	"strings"
)

// watchNode is a component of a watched path, in the hub's tree. Most watch nodes have one child, and a path may have
// thousands of components, so only the second child makes a map.
type watchNode struct {
	name     string
	parent   *watchNode
	only     *watchNode            // the child, while there is one at most
	children map[string]*watchNode // all children, once there have been two; nil again when there is none
	watchers []*Watcher            // watchers[i].pos == i
}

// child returns the child of this name, or nil.
func (n *watchNode) child(name string) *watchNode {
	if n.only != nil && n.only.name == name {
		return n.only
	}
	return n.children[name]
}

// makeChild returns the child of this name, a new one if there is none.
func (n *watchNode) makeChild(name string) *watchNode {
	child := n.child(name)
	if child != nil {
		return child
	}
	child = &watchNode{name: strings.Clone(name), parent: n}
	switch {
	case n.children != nil:
		n.children[child.name] = child
	case n.only == nil:
		n.only = child
	default:
		n.children = map[string]*watchNode{n.only.name: n.only, child.name: child}
		n.only = nil
	}
	return child
}

// prune takes n, and then its parents, out of the tree, as long as nobody watches at or below them.
func (n *watchNode) prune() {
	for n.parent != nil && len(n.watchers) == 0 && n.count() == 0 {
		parent := n.parent
		if parent.only == n {
			parent.only = nil
		} else if delete(parent.children, n.name); len(parent.children) == 0 {
			parent.children = nil
		}
		n = parent
	}
}

// count is the number of children.
func (n *watchNode) count() int {
	if n.only != nil {
		return 1
	}
	return len(n.children)
}

// all goes through the children, in no order. They may be pruned meanwhile.
func (n *watchNode) all() iter.Seq[*watchNode] {
	return func(yield func(*watchNode) bool) {
		if n.only != nil {
			yield(n.only)
			return
		}
		for _, child := range n.children {
			if !yield(child) {
				return
			}
		}
	}
}
