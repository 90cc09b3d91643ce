package store

import (
	"io"
	"unicode/utf8"
)

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
	partBytes  = 8 << 10  // of a long value are escaped at a time; at most six times as many come out
)

// File gives the size of the value, and a name of its memory, if the node is a file. Listings of the same value have
// it in common, also with the tree as long as the value is there.
func (l *Listing) File() (memory any, bytes int64, isFile bool) {
	return l.node, int64(len(l.node.value)), l.node.dir == nil
}

// Small reports whether there are so few and small nodes that AppendJSON is the better way. It looks at no more than a
// few dozen nodes.
func (l *Listing) Small() bool {
	type level struct {
		d   *directory
		key int // its key's length
	}
	if l.node.dir == nil {
		return len(l.node.value) <= smallBytes
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

// WriteBytes is about what WriteJSON needs.
const WriteBytes = 2 * pieceBytes

// WriteJSON writes the whole answer, newline included, in pieces of at most 64 KiB and in memory that depends on the
// depth of the tree and its longest key, not on its size or that of a value. The error is the writer's.
func (l *Listing) WriteJSON(w io.Writer) error {
	e := encoder{buf: make([]byte, 0, WriteBytes), out: w, recursive: l.recursive, clock: l.clock}
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
	if l.node.dir == nil && len(l.node.value) <= partBytes { // without a path, so that nothing is allocated
		e.buf = append(appendNode(e.buf, l.key, l.node, e.clock), "}\n"...)
		return nil
	}
	if l.key == "" {
		e.buf = append(e.buf, `{"dir":true`...) // the root has no key (K38)
	} else {
		e.path = appendEscaped(e.path, l.key)
		if err := e.head(l.node); err != nil {
			return err
		}
	}
	if l.node.dir == nil {
		e.buf = append(appendIndexes(e.buf, l.node.modified, l.node.created), "}}\n"...)
		return nil
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
			if err := e.child(top, n); err != nil {
				return err
			}
		}
		if err := e.drainFull(); err != nil {
			return err
		}
	}
	return nil
}

// child writes a child of the directory top, or, when it is to be expanded, its beginning.
func (e *encoder) child(top *level, n *node) error {
	if top.any {
		e.buf = append(e.buf, ',')
	} else {
		e.buf = append(e.buf, `,"nodes":[`...)
		top.any = true
	}
	pathUp := len(e.path)
	e.path = appendEscaped(append(e.path, '/'), n.name)
	if err := e.head(n); err != nil {
		return err
	}
	if e.recursive && n.dir != nil {
		e.enter(n, pathUp)
		return nil
	}
	e.path = e.path[:pathUp]
	e.buf = append(appendIndexes(e.buf, n.modified, n.created), '}')
	return nil
}

// head writes a node, whose key is the path, up to its nodes. A long value goes out in parts.
func (e *encoder) head(n *node) error {
	e.buf = append(append(e.buf, `{"key":"`...), e.path...)
	e.buf = append(e.buf, '"')
	if n.dir != nil || len(n.value) <= partBytes {
		e.buf = appendContent(e.buf, n, e.clock)
		return nil
	}
	e.buf = append(e.buf, `,"value":"`...)
	for rest := n.value; rest != ""; {
		end := partEnd(rest)
		e.buf = appendEscaped(e.buf, rest[:end])
		rest = rest[end:]
		if err := e.drainFull(); err != nil {
			return err
		}
	}
	e.buf = appendDeadline(append(e.buf, '"'), n, e.clock)
	return nil
}

// partEnd is the length of the next part of a long value: parts do not end within a character.
func partEnd(s string) int {
	if len(s) <= partBytes {
		return len(s)
	}
	for end := partBytes; end > partBytes-utf8.UTFMax; end-- {
		if utf8.RuneStart(s[end]) {
			return end
		}
	}
	return partBytes // s is not UTF-8 here
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

// drainFull writes out whole pieces.
func (e *encoder) drainFull() error {
	if e.out == nil || len(e.buf) < pieceBytes {
		return nil
	}
	return e.drain(pieceBytes)
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
