package store

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// A directory keeps its children in a B-tree of pages, sorted by name. Pages are shared between the directory being
// written and the views published before: a page is changed in place only by the batch that made it, which its epoch
// tells, and is copied otherwise. So taking a view costs nothing, and a batch copies each page it touches once.

const (
	pageItems    = 64            // most nodes in a page
	pageItemsMin = pageItems / 4 // a page with fewer is joined with, or filled from, the one beside it
)

// page is one page of the tree. All names below kids[i] lie between those of items[i-1] and items[i].
type page struct {
	epoch uint64
	items []*node
	kids  []*page // nil in a leaf, else one more than items
	heads *heads  // of the items' names; nil: not made yet, or names came or went since
}

// search returns the place of name among the items, and whether it is there.
func (p *page) search(name string) (int, bool) {
	h := p.heads
	if h == nil || len(name) < int(h.length) || name[:h.length] != string(h.prefix[:h.length]) {
		return p.searchNames(name)
	}
	low, high := h.run(headOf(name[h.length:]), len(p.items))
	for low < high {
		mid := int(uint(low+high) >> 1)
		switch c := h.compare(p.items[mid].name, name); {
		case c < 0:
			low = mid + 1
		case c > 0:
			high = mid
		default:
			return mid, true
		}
	}
	return low, false
}

// searchNames is search without the heads. Names that arrive in order are found to be new with one comparison.
func (p *page) searchNames(name string) (int, bool) {
	if last := len(p.items) - 1; p.items[last].name < name {
		return last + 1, false
	}
	return slices.BinarySearchFunc(p.items, name, func(n *node, name string) int { return strings.Compare(n.name, name) })
}

// get returns the child of this name, or nil.
func (d *directory) get(name string) *node {
	for p := d.root; p != nil; {
		i, found := p.search(name)
		if found {
			return p.items[i]
		}
		if p.kids == nil {
			return nil
		}
		p = p.kids[i]
	}
	return nil
}

// replace puts n in the place of the child of this name, which is its own and must exist. Pages in which names are
// replaced get their heads: they are searched often, and the names stay.
func (d *directory) replace(name string, n *node) {
	d.root = d.root.own(d.epoch)
	for p := d.root; ; {
		if p.heads == nil {
			p.heads = makeHeads(p.items)
		}
		i, found := p.search(name)
		if found {
			p.items[i] = n
			return
		}
		assert(p.kids != nil, "a replaced child exists")
		p = p.ownKid(i)
	}
}

// insert adds n, whose name must not exist. Full pages are split on the way down.
func (d *directory) insert(n *node) {
	d.count++
	if d.root == nil {
		d.root = &page{epoch: d.epoch, items: []*node{n}}
		return
	}
	d.root = d.root.own(d.epoch)
	if len(d.root.items) == pageItems {
		d.root = &page{epoch: d.epoch, kids: []*page{d.root}}
		d.root.split(0, n.name)
	}
	for p := d.root; ; {
		i, found := p.search(n.name)
		assert(!found, "an inserted child is new")
		if p.kids == nil {
			p.items, p.heads = insertAt(p.items, i, n, pageItems), nil
			return
		}
		if kid := p.ownKid(i); len(kid.items) < pageItems {
			p = kid
		} else {
			p.split(i, n.name)
		}
	}
}

// remove takes the child of this name out; it must exist.
func (d *directory) remove(name string) {
	d.count--
	d.root = d.root.own(d.epoch)
	d.root.remove(name)
	if len(d.root.items) > 0 {
		return
	}
	if d.root.kids == nil {
		d.root = nil
	} else {
		d.root = d.root.kids[0]
	}
}

// own returns p when this epoch made it, else a copy that this epoch may change.
func (p *page) own(epoch uint64) *page {
	if p.epoch == epoch {
		return p
	}
	return &page{epoch: epoch, items: slices.Clone(p.items), kids: slices.Clone(p.kids), heads: p.heads}
}

// ownKid makes kids[i] changeable. p itself must be.
func (p *page) ownKid(i int) *page {
	p.kids[i] = p.kids[i].own(p.epoch)
	return p.kids[i]
}

// split divides the full page kids[i], and lifts the item between the halves into p. It divides in the middle, except
// when name, which is about to be inserted, comes after all: names that arrive in order shall leave full pages behind.
func (p *page) split(i int, name string) {
	left := p.ownKid(i)
	at := pageItems / 2
	if left.items[len(left.items)-1].name < name {
		at = pageItems * 7 / 8
	}
	right := &page{epoch: p.epoch, items: slices.Clone(left.items[at+1:])}
	p.items, p.heads = insertAt(p.items, i, left.items[at], pageItems), nil
	left.items, left.heads = slices.Clone(left.items[:at]), nil
	if left.kids != nil {
		right.kids = slices.Clone(left.kids[at+1:])
		left.kids = slices.Clone(left.kids[:at+1])
	}
	p.kids = insertAt(p.kids, i+1, right, pageItems+1)
}

// remove takes the item of this name out of p, which is changeable, or out of the pages below it.
func (p *page) remove(name string) {
	i, found := p.search(name)
	if p.kids == nil {
		assert(found, "a removed child exists")
		p.items, p.heads = slices.Delete(p.items, i, i+1), nil
		return
	}
	if found {
		p.items[i], p.heads = p.ownKid(i).removeLast(), nil
	} else {
		p.ownKid(i).remove(name)
	}
	p.fill(i)
}

// removeLast takes out the last item of p and what is below it.
func (p *page) removeLast() *node {
	last := len(p.items)
	if p.kids == nil {
		n := p.items[last-1]
		p.items, p.heads = slices.Delete(p.items, last-1, last), nil
		return n
	}
	n := p.ownKid(last).removeLast()
	p.fill(last)
	return n
}

// fill restores kids[i] when it has become too small: joined with its neighbour, or, when that would be too large,
// with an item from there.
func (p *page) fill(i int) {
	if len(p.kids[i].items) >= pageItemsMin || len(p.kids) == 1 {
		return
	}
	if i == len(p.kids)-1 {
		i--
	}
	left, right := p.ownKid(i), p.ownKid(i+1)
	p.heads, left.heads, right.heads = nil, nil, nil
	switch {
	case len(left.items)+len(right.items) < pageItems:
		left.items = append(append(left.items, p.items[i]), right.items...)
		left.kids = append(left.kids, right.kids...)
		p.items = slices.Delete(p.items, i, i+1)
		p.kids = slices.Delete(p.kids, i+1, i+2)
	case len(left.items) < len(right.items):
		left.items = insertAt(left.items, len(left.items), p.items[i], pageItems)
		p.items[i] = right.items[0]
		right.items = slices.Delete(right.items, 0, 1)
		if right.kids != nil {
			left.kids = insertAt(left.kids, len(left.kids), right.kids[0], pageItems+1)
			right.kids = slices.Delete(right.kids, 0, 1)
		}
	default:
		last := len(left.items) - 1
		right.items = insertAt(right.items, 0, p.items[i], pageItems)
		p.items[i] = left.items[last]
		left.items = slices.Delete(left.items, last, last+1)
		if left.kids != nil {
			right.kids = insertAt(right.kids, 0, left.kids[last+1], pageItems+1)
			left.kids = slices.Delete(left.kids, last+1, last+2)
		}
	}
}

// heads are what the names of a page begin with, behind what all of them begin with, as numbers in one piece: a search
// that compares names themselves takes two trips to memory for each. They are never changed, and shared by the copies of
// a page.
type heads struct {
	of     [pageItems]uint64 // as large as can be behind the last
	prefix [prefixMax]byte
	length uint8 // of the prefix
}

const (
	prefixMax = 39
	headBytes = 8
	lineHeads = 8 // in a line of the processor's cache
)

func makeHeads(items []*node) *heads {
	h := &heads{}
	h.length = uint8(copy(h.prefix[:], commonPrefix(items[0].name, items[len(items)-1].name)))
	for i := range h.of {
		h.of[i] = math.MaxUint64
		if i < len(items) {
			h.of[i] = headOf(items[i].name[h.length:])
		}
	}
	return h
}

// run returns where the names of this head are among n; if there are none, both are where they would be.
func (h *heads) run(head uint64, n int) (low, high int) {
	low = h.below(head)
	switch {
	case low >= n || h.of[low] != head:
		return low, low
	case low+1 == n || h.of[low+1] != head:
		return low, low + 1
	case head == math.MaxUint64:
		return low, n
	}
	return low, h.below(head + 1)
}

// below counts the heads that are less. It looks at the last of each line first, then at one line: so the processor can
// fetch what it needs at once, and has no branches to guess.
func (h *heads) below(head uint64) int {
	lines := uint64(0)
	for i := lineHeads - 1; i < pageItems-lineHeads; i += lineHeads {
		_, less := bits.Sub64(h.of[i], head, 0)
		lines += less
	}
	count := lines * lineHeads
	for _, of := range h.of[count : count+lineHeads] {
		_, less := bits.Sub64(of, head, 0)
		count += less
	}
	return int(count)
}

// compare compares names that have the prefix, and equal heads. If they end there, what follows in the longer one is
// zeros, as in the heads.
func (h *heads) compare(a, b string) int {
	if max(len(a), len(b)) <= int(h.length)+headBytes {
		return cmp.Compare(len(a), len(b))
	}
	return strings.Compare(a, b)
}

// headOf is the first eight bytes of a name as a number, which is in the order of names.
func headOf(name string) uint64 {
	var b [headBytes]byte
	copy(b[:], name)
	return binary.BigEndian.Uint64(b[:])
}

func commonPrefix(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// insertAt is slices.Insert for one element, with room that doubles but never exceeds most.
func insertAt[T any](s []T, i int, v T, most int) []T {
	if len(s) == cap(s) {
		grown := make([]T, len(s), min(most, max(4, 2*len(s))))
		copy(grown, s)
		s = grown
	}
	s = s[:len(s)+1]
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}

// cursor walks the children of a directory in order.
type cursor struct{ stack []spot }

// spot is a place in a page: everything before items[i], with the pages below, has been visited.
type spot struct {
	p *page
	i int
}

// start puts the cursor before the first child of d.
func (c *cursor) start(d *directory) {
	c.stack = c.stack[:0]
	c.descend(d.root)
}

// descend goes to the first item at or below p.
func (c *cursor) descend(p *page) {
	for p != nil {
		c.stack = append(c.stack, spot{p: p})
		if p.kids == nil {
			return
		}
		p = p.kids[0]
	}
}

// next returns the next child, or nil after the last.
func (c *cursor) next() *node {
	for len(c.stack) > 0 {
		top := &c.stack[len(c.stack)-1]
		if top.i == len(top.p.items) {
			c.stack = c.stack[:len(c.stack)-1]
			continue
		}
		n := top.p.items[top.i]
		top.i++
		if top.p.kids != nil {
			c.descend(top.p.kids[top.i])
		}
		return n
	}
	return nil
}
