package tree

import "github.com/cespare/xxhash/v2"

// Builder makes a tree of nodes that come in the order of a depth-first walk: a directory before its children, and these
// sorted by name. The caller checks that order; Depth and Last tell what may come next.
type Builder struct {
	tree *Tree
	keep bool
	open []openDir // the directories whose children can come next, from the root down
	path []byte    // of the node that came last
}

// openDir is a directory whose children come.
type openDir struct {
	dir     *Dir
	pathLen int
	last    string // the name of the child that came last; "": none came
}

// NewBuilder begins a tree. Unless keep is set, nodes are only hashed and not kept, so that memory depends on the depth of
// the tree alone.
func NewBuilder(keep bool) *Builder {
	t := New()
	return &Builder{tree: t, keep: keep, open: []openDir{{dir: t.root.Dir()}}}
}

// Tree is the tree, which is complete after Close(1).
func (b *Builder) Tree() *Tree { return b.tree }

// Depth is the number of components of the paths that can come next. 1 <= Depth.
func (b *Builder) Depth() int { return len(b.open) }

// Last is the name of the node that came last in the directory of those that can come next; "": none came.
func (b *Builder) Last() string { return b.open[len(b.open)-1].last }

// Close closes directories until Depth is at most depth, which is at least 1.
func (b *Builder) Close(depth int) {
	for len(b.open) > depth {
		below := b.open[len(b.open)-1].dir
		b.open = b.open[:len(b.open)-1]
		parent := b.open[len(b.open)-1].dir
		parent.timed += below.timed
		parent.hash += below.hash
	}
}

// NewDir returns an empty directory for a node that will be added.
func (b *Builder) NewDir() *Dir { return b.tree.NewDir() }

// Add adds a node of this name at Depth. If it is a directory, its children can come next. The path that is returned is valid
// until the next Add.
func (b *Builder) Add(name string, n *Node) (path []byte) {
	n.name = name
	parent := &b.open[len(b.open)-1]
	parent.last = name
	b.path = append(append(b.path[:parent.pathLen], '/'), name...)
	d := parent.dir
	if n.Deadline() != 0 {
		d.timed++
	}
	if n.Dir() != nil {
		b.open = append(b.open, openDir{dir: n.Dir(), pathLen: len(b.path)})
	}
	d.hash += n.hash(pathHash(xxhash.Sum64(b.path)))
	if b.keep {
		d.insert(n)
	}
	return b.path
}
