package store

import (
	"canopy/store/tree"
	"canopy/store/watch"
)

// View is the store as one Publish showed it. It never changes: any number of goroutines may read it, for as long as they
// like, while the store is written.
type View struct {
	root     *tree.Node
	index    Index
	clock    tree.Clock
	counters counters
	history  watch.History
}

// View returns the view of the last Publish.
func (s *Store) View() *View { return s.view.Load() }

// Index is the store index of the view (K32).
func (v *View) Index() Index { return v.index }

// Time is the log's time of the view.
func (v *View) Time() Time { return v.clock.Now }

// ReadOptions say how a node is listed. Children are always sorted by name, by the bytes of their keys (K39).
type ReadOptions struct {
	Recursive bool // all levels, not only the first (K37)
	Sorted    bool // has no effect, since all listings are sorted
	Now       Time // each ttl counts from it (K82); 0: the view's time
}

// Get finds the node of a key. The error is an *Error with CodeKeyNotFound or CodeNotDir (K40, K41).
func (v *View) Get(k Key, o ReadOptions) (*Listing, error) {
	n, err := find(v.root, k.clean)
	if err != nil {
		err.Index = v.index
		return nil, err
	}
	c := v.clock
	if o.Now != 0 {
		c.Now = o.Now
	}
	return &Listing{node: n, key: k.clean, recursive: o.Recursive, clock: c}, nil
}

// find returns the node of a key, or the *Error of K40 and K41, without Index.
func find(root *tree.Node, key string) (*tree.Node, *Error) {
	n, at := tree.Find(root, key)
	return found(n, key, at)
}

// found turns the result of tree.Find into a node or an *Error.
func found(n *tree.Node, key string, at int) (*tree.Node, *Error) {
	switch {
	case n == nil:
		return nil, &Error{Code: CodeKeyNotFound, Cause: key[:at]}
	case at < len(key):
		return nil, &Error{Code: CodeNotDir, Cause: key[:at]}
	}
	return n, nil
}

// Walk visits a node and all below it: a directory before its children, and these sorted by name; hidden ones, too. The root
// itself is not visited. An error of visit ends it. The error is an *Error if there is no node.
func (v *View) Walk(k Key, visit func(key string, n *tree.Node) error) error {
	top, err := find(v.root, k.clean)
	if err != nil {
		err.Index = v.index
		return err
	}
	if !k.IsRoot() {
		if err := visit(k.clean, top); err != nil {
			return err
		}
	}
	if top.Dir() == nil {
		return nil
	}
	type level struct {
		children tree.Cursor
		path     string
	}
	open := []level{{path: k.clean}}
	open[0].children.Start(top.Dir())
	for len(open) > 0 {
		at := &open[len(open)-1]
		n := at.children.Next()
		if n == nil {
			open = open[:len(open)-1]
			continue
		}
		path := at.path + "/" + n.Name()
		if err := visit(path, n); err != nil {
			return err
		}
		if n.Dir() != nil {
			open = append(open, level{path: path})
			open[len(open)-1].children.Start(n.Dir())
		}
	}
	return nil
}

// Expiration is when a node of the view expires; 0: never.
func (v *View) Expiration(n *tree.Node) Time {
	if n.Deadline() == 0 {
		return 0
	}
	return v.clock.Expiration(n.Deadline())
}
