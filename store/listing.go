package store

import (
	"io"
	"unicode/utf8"

	"canopy/store/nodejson"
	"canopy/store/tree"
)

// Listing is a node that Get has found. It writes the answer to the read (K36-K39).
type Listing struct {
	node      *tree.Node
	key       string
	recursive bool
	clock     tree.Clock
}

const (
	smallNodes = 64       // most nodes of a small listing
	smallBytes = 16 << 10 // about the most bytes of its answer
	otherBytes = 80       // bytes of a node in an answer besides its key and value
	pieceBytes = 64 << 10 // most bytes that WriteJSON writes at a time
	partBytes  = 8 << 10  // bytes of a long value that are escaped at a time; at most six times as many result
)

// File returns the size of the value, if the node is a file, and an identity of its memory. Listings of the same value share
// this memory, and the tree does while the value is in it.
func (l *Listing) File() (memory any, bytes int64, isFile bool) {
	return l.node, int64(len(l.node.Value())), l.node.Dir() == nil
}

// Small reports whether the nodes are so few and small that AppendJSON is better than WriteJSON. It reads at most a few dozen
// nodes.
func (l *Listing) Small() bool {
	type level struct {
		d   *tree.Dir
		key int // its key's length
	}
	if l.node.Dir() == nil {
		return len(l.node.Value()) <= smallBytes
	}
	nodes, bytes := 0, 0
	var c tree.Cursor
	for open := []level{{l.node.Dir(), len(l.key)}}; len(open) > 0; {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		if nodes+top.d.Len() > smallNodes {
			return false
		}
		c.Start(top.d)
		for n := c.Next(); n != nil; n = c.Next() {
			key := top.key + 1 + len(n.Name())
			nodes++
			bytes += otherBytes + key + len(n.Value())
			if l.recursive && n.Dir() != nil {
				open = append(open, level{n.Dir(), key})
			}
		}
		if bytes > smallBytes {
			return false
		}
	}
	return true
}

// AppendJSON appends the whole answer, newline included. For a short file it allocates nothing, if dst has room.
func (l *Listing) AppendJSON(dst []byte) []byte {
	e := encoder{buf: dst, recursive: l.recursive, clock: l.clock}
	_ = e.answer(l) // only a writer returns errors
	return e.buf
}

// WriteBytes is about the memory that WriteJSON needs.
const WriteBytes = 2 * pieceBytes

// WriteJSON writes the whole answer, newline included, in pieces of at most 64 KiB. Its memory depends on the depth of the
// tree and its longest key, and not on the size of the tree or of a value. The error is that of w.
func (l *Listing) WriteJSON(w io.Writer) error {
	e := encoder{buf: make([]byte, 0, WriteBytes), out: w, recursive: l.recursive, clock: l.clock}
	if err := e.answer(l); err != nil {
		return err
	}
	return e.drain(1)
}

// encoder writes the answer to a read. It walks the tree with a stack of its own, since the Go stack is bounded and keys can
// be deep.
type encoder struct {
	buf       []byte
	out       io.Writer // nil: the answer stays in buf
	recursive bool
	clock     tree.Clock
	path      []byte  // the key of open[len(open)-1], escaped for JSON
	open      []level // the directories whose children are being written, from the outermost on
}

// level is a directory whose children are being written.
type level struct {
	n        *tree.Node
	children tree.Cursor
	pathUp   int  // length of its parent's path
	any      bool // a child was written
}

// answer writes the action, and the node with what is below it.
func (e *encoder) answer(l *Listing) error {
	e.buf = append(e.buf, `{"action":"get","node":`...)
	if l.node.Dir() == nil && len(l.node.Value()) <= partBytes { // this way allocates nothing
		e.buf = append(nodejson.AppendNode(e.buf, l.key, l.node, e.clock), "}\n"...)
		return nil
	}
	if l.key == "" {
		e.buf = append(e.buf, `{"dir":true`...) // the root has no key (K38)
	} else {
		e.path = nodejson.AppendEscaped(e.path, l.key)
		if err := e.head(l.node); err != nil {
			return err
		}
	}
	if l.node.Dir() == nil {
		e.buf = append(nodejson.AppendIndexes(e.buf, l.node.Modified(), l.node.Created()), "}}\n"...)
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
		n := top.children.Next()
		switch {
		case n == nil:
			e.leave()
		case isHidden(n.Name()): // K75
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

// child writes a child of the directory top. If its own children follow, it writes only the first part.
func (e *encoder) child(top *level, n *tree.Node) error {
	if top.any {
		e.buf = append(e.buf, ',')
	} else {
		e.buf = append(e.buf, `,"nodes":[`...)
		top.any = true
	}
	pathUp := len(e.path)
	e.path = nodejson.AppendEscaped(append(e.path, '/'), n.Name())
	if err := e.head(n); err != nil {
		return err
	}
	if e.recursive && n.Dir() != nil {
		e.enter(n, pathUp)
		return nil
	}
	e.path = e.path[:pathUp]
	e.buf = append(nodejson.AppendIndexes(e.buf, n.Modified(), n.Created()), '}')
	return nil
}

// head writes the node whose key is in path, up to its children. It writes a long value in parts.
func (e *encoder) head(n *tree.Node) error {
	e.buf = append(append(e.buf, `{"key":"`...), e.path...)
	e.buf = append(e.buf, '"')
	if n.Dir() != nil || len(n.Value()) <= partBytes {
		e.buf = nodejson.AppendContent(e.buf, n, e.clock)
		return nil
	}
	e.buf = append(e.buf, `,"value":"`...)
	for rest := n.Value(); rest != ""; {
		end := partEnd(rest)
		e.buf = nodejson.AppendEscaped(e.buf, rest[:end])
		rest = rest[end:]
		if err := e.drainFull(); err != nil {
			return err
		}
	}
	e.buf = nodejson.AppendDeadline(append(e.buf, '"'), n, e.clock)
	return nil
}

// partEnd is the length of the next part of a long value. A part does not end within a character.
func partEnd(s string) int {
	if len(s) <= partBytes {
		return len(s)
	}
	for end := partBytes; end > partBytes-utf8.UTFMax; end-- {
		if utf8.RuneStart(s[end]) {
			return end
		}
	}
	return partBytes // this is not UTF-8
}

// enter opens a directory. It reuses the memory of earlier levels.
func (e *encoder) enter(n *tree.Node, pathUp int) {
	if len(e.open) < cap(e.open) {
		e.open = e.open[:len(e.open)+1]
	} else {
		e.open = append(e.open, level{})
	}
	top := &e.open[len(e.open)-1]
	top.n, top.pathUp, top.any = n, pathUp, false
	top.children.Start(n.Dir())
}

// leave writes the end of the innermost open directory, and closes it.
func (e *encoder) leave() {
	top := &e.open[len(e.open)-1]
	if top.any {
		e.buf = append(e.buf, ']')
	}
	e.buf = append(nodejson.AppendIndexes(e.buf, top.n.Modified(), top.n.Created()), '}')
	e.path = e.path[:top.pathUp]
	e.open = e.open[:len(e.open)-1]
}

// drainFull writes whole pieces to out.
func (e *encoder) drainFull() error {
	if e.out == nil || len(e.buf) < pieceBytes {
		return nil
	}
	return e.drain(pieceBytes)
}

// drain writes pieces to out while buf has at least least bytes. 1 <= least.
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
