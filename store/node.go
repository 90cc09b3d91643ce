package store

// node is a file or a directory. It knows neither its path nor its parent. A file is never changed, only replaced; so
// is a directory's node, except by the batch that made it.
type node struct {
	name     string
	value    string // of a file
	created  Index
	modified Index
	deadline Time       // log time less the store's shift; 0: permanent
	dir      *directory // nil: a file
}

// directory is what a directory's node has more than a file's. Its children can be changed in place only while its
// epoch is the store's.
type directory struct {
	epoch uint64
	root  *page  // nil: empty
	count int    // children
	timed int    // nodes anywhere below that have a deadline
	hash  uint64 // sum over all nodes below
}

// newRoot makes the root of an empty tree. Its node has neither name nor indexes (K38).
func newRoot(epoch uint64) *node {
	return &node{dir: &directory{epoch: epoch}}
}

// fork returns a copy of the directory's node, with children that this epoch may change.
func (n *node) fork(epoch uint64) *node {
	copied, dir := *n, *n.dir
	dir.epoch = epoch
	copied.dir = &dir
	return &copied
}

// timedNodes counts the deadlines of n and all below it.
func (n *node) timedNodes() int {
	count := 0
	if n.deadline != 0 {
		count++
	}
	if n.dir != nil {
		count += n.dir.timed
	}
	return count
}

// find goes from root to the node of this key. When there is none, the *Error is that of K40 and K41, without Index.
func find(root *node, key string) (*node, *Error) {
	n := root
	for rest := key; rest != ""; {
		if n.dir == nil {
			return nil, &Error{Code: CodeNotDir, Cause: key[:len(key)-len(rest)]}
		}
		var name string
		name, rest = cutName(rest)
		if n = n.dir.get(name); n == nil {
			return nil, &Error{Code: CodeKeyNotFound, Cause: key[:len(key)-len(rest)]}
		}
	}
	return n, nil
}

// assert stops the member when an invariant of the store itself is broken: carrying on would let members diverge. What
// names the invariant; it is a constant, so that a check costs a comparison.
func assert(ok bool, what string) {
	if !ok {
		panic("store: invariant broken: " + what)
	}
}
