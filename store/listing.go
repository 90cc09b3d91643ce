package store

import "io"

// Listing is a node found by Get, to be encoded as the answer to the read (K36-K39).
type Listing struct {
	node      *node
	key       string
	recursive bool
	clock     clock
}

const (
	smallNodes = 64       // most nodes of a small listing
	smallBytes = 16 << 10 // about the most bytes of its answer
	nodeBytes  = 80       // what a node takes in an answer besides its key and value
	pieceBytes = 64 << 10 // WriteJSON writes pieces of at most this size
)

// Small reports whether the answer is a file, or so few nodes that AppendJSON is the better way. It looks at no more
// than a few dozen nodes.
func (l *Listing) Small() bool {
	type level struct {
		d   *directory
		key int // its key's length
	}
	if l.node.dir == nil {
		return true
	}
	nodes, bytes := 0, 0
	var c cursor
	for open := []level{{l.node.dir, len(l.key)}}; len(open) > 0; {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		if nodes+top.d.count > smallNodes {
			return false
		}
		c.start(top.d)
		for n := c.next(); n != nil; n = c.next() {
			key := top.key + 1 + len(n.name)
			nodes++
			bytes += nodeBytes + key + len(n.value)
			if l.recursive && n.dir != nil {
				open = append(open, level{n.dir, key})
			}
		}
		if bytes > smallBytes {
			return false
		}
	}
	return true
}

// AppendJSON appends the whole answer, newline included. For a file it allocates nothing but what dst lacks.
func (l *Listing) AppendJSON(dst []byte) []byte {
	e := encoder{buf: dst, recursive: l.recursive, clock: l.clock}
	_ = e.answer(l) // without a writer nothing can fail
	return e.buf
}

// WriteJSON writes the whole answer, newline included, in pieces of at most 64 KiB and in memory that depends on the
// depth of the tree and its largest value, not on its size. The error is the writer's.
func (l *Listing) WriteJSON(w io.Writer) error {
	e := encoder{buf: make([]byte, 0, pieceBytes+pieceBytes/4), out: w, recursive: l.recursive, clock: l.clock}
	if err := e.answer(l); err != nil {
		return err
	}
	return e.drain(1)
}

// encoder writes the answer to a read. It goes through the tree with a stack of its own, so that depth costs memory
// and not Go stack.
type encoder struct {
	buf       []byte
	out       io.Writer // nil: all stays in buf
	recursive bool
	clock     clock
	path      []byte  // the key of the innermost open directory, escaped for JSON
	open      []level // directories whose nodes are being written, innermost last
}

// level is a directory whose nodes are being written.
type level struct {
	n        *node
	children cursor
	pathUp   int // length of its parent's path
	any      bool
}

// answer writes action, node and what is below it.
func (e *encoder) answer(l *Listing) error {
	e.buf = append(e.buf, `{"action":"get","node":`...)
	if l.node.dir == nil {
		e.buf = append(appendNode(e.buf, l.key, l.node, e.clock), "}\n"...)
		return nil
	}
	if l.key == "" {
		e.buf = append(e.buf, `{"dir":true`...) // the root has no key (K38)
	} else {
		e.path = appendEscaped(e.path, l.key)
		e.head(l.node)
	}
	e.enter(l.node, 0)
	if err := e.nodes(); err != nil {
		return err
	}
	e.buf = append(e.buf, "}\n"...)
	return nil
}

// nodes writes the children of the open directories until none is open.
func (e *encoder) nodes() error {
	for len(e.open) > 0 {
		top := &e.open[len(e.open)-1]
		n := top.children.next()
		switch {
		case n == nil:
			e.leave()
		case isHidden(n.name): // K75
		default:
			e.child(top, n)
		}
		if e.out != nil && len(e.buf) >= pieceBytes {
			if err := e.drain(pieceBytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// child writes a child of the directory top, or, when it is to be expanded, its beginning.
func (e *encoder) child(top *level, n *node) {
	if top.any {
		e.buf = append(e.buf, ',')
	} else {
		e.buf = append(e.buf, `,"nodes":[`...)
		top.any = true
	}
	pathUp := len(e.path)
	e.path = appendEscaped(append(e.path, '/'), n.name)
	e.head(n)
	if e.recursive && n.dir != nil {
		e.enter(n, pathUp)
		return
	}
	e.path = e.path[:pathUp]
	e.buf = append(appendIndexes(e.buf, n.modified, n.created), '}')
}

// head writes a node, whose key is the path, up to its nodes.
func (e *encoder) head(n *node) {
	e.buf = append(append(e.buf, `{"key":"`...), e.path...)
	e.buf = appendContent(append(e.buf, '"'), n, e.clock)
}

// enter opens a directory. The memory of levels left before is used again.
func (e *encoder) enter(n *node, pathUp int) {
	if len(e.open) < cap(e.open) {
		e.open = e.open[:len(e.open)+1]
	} else {
		e.open = append(e.open, level{})
	}
	top := &e.open[len(e.open)-1]
	top.n, top.pathUp, top.any = n, pathUp, false
	top.children.start(n.dir)
}

// leave writes the end of the innermost directory and closes it.
func (e *encoder) leave() {
	top := &e.open[len(e.open)-1]
	if top.any {
		e.buf = append(e.buf, ']')
	}
	e.buf = append(appendIndexes(e.buf, top.n.modified, top.n.created), '}')
	e.path = e.path[:top.pathUp]
	e.open = e.open[:len(e.open)-1]
}

// drain writes out pieces while there are at least so many bytes, which is at least one.
func (e *encoder) drain(least int) error {
	done := 0
	for len(e.buf)-done >= least {
		n, err := e.out.Write(e.buf[done:min(done+pieceBytes, len(e.buf))])
		if err != nil {
			return err
		}
		done += n
	}
	e.buf = e.buf[:copy(e.buf, e.buf[done:])]
	return nil
}
