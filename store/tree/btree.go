package tree

import (
	"slices"
	"strings"
)

// A directory keeps its children in a B-tree of pages, sorted by name. The tree shares pages with the roots that readers
// keep. If page.epoch == Tree.epoch, the tree has made the page since the last Freeze, and changes it in place; otherwise it
// changes a copy. So Freeze copies nothing, and a batch of writes copies each page that it changes once.

const (
	pageItems    = 64            // most nodes in a page
	pageItemsMin = pageItems / 4 // a page with fewer gets items from the page beside it, or is merged with it
)

// page is one page of a directory's B-tree.
type page struct {
	epoch    uint64
	items    []*Node   // sorted by name; 1 <= len(items) <= pageItems
	children []*page   // items[i-1].Name < all names in children[i] < items[i].Name; nil in a leaf, else len(items)+1 pages
	prefixes *prefixes // of the items' names; nil: not made yet, or the names have changed since
}

// search returns the position of name among the items, and whether it is there.
func (p *page) search(name string) (int, bool) {
	x := p.prefixes
	if x == nil || len(name) < int(x.commonLen) || name[:x.commonLen] != string(x.common[:x.commonLen]) {
		return p.searchNames(name)
	}
	low, high := x.find(wordOf(name[x.commonLen:]), len(p.items))
	for low < high { // a binary search among the names that begin alike
		mid := int(uint(low+high) >> 1)
		switch c := x.compare(p.items[mid].Name(), name); {
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

// searchNames is search without prefixes. It finds with one comparison that a name is new if names arrive in order.
func (p *page) searchNames(name string) (int, bool) {
	if last := len(p.items) - 1; p.items[last].Name() < name {
		return last + 1, false
	}
	return slices.BinarySearchFunc(p.items, name, func(n *Node, name string) int { return strings.Compare(n.Name(), name) })
}

// Get returns the child of this name, or nil.
func (d *Dir) Get(name string) *Node {
	for p := d.root; p != nil; {
		i, found := p.search(name)
		if found {
			return p.items[i]
		}
		if p.children == nil {
			return nil
		}
		p = p.children[i]
	}
	return nil
}

// replace replaces the child of this name by n, which has the same name. The child must exist. The pages that are searched
// for it get prefixes: where nodes are replaced the names stay, and are searched often.
func (d *Dir) replace(name string, n *Node) {
	d.root = d.root.writable(d.epoch)
	for p := d.root; ; {
		if p.prefixes == nil {
			p.prefixes = makePrefixes(p.items)
		}
		i, found := p.search(name)
		if found {
			p.items[i] = n
			return
		}
		assert(p.children != nil, "a replaced child exists")
		p = p.writableChild(i)
	}
}

// insert adds n, whose name must not exist. It splits full pages on the way down.
func (d *Dir) insert(n *Node) {
	d.count++
	if d.root == nil {
		d.root = &page{epoch: d.epoch, items: []*Node{n}}
		return
	}
	d.root = d.root.writable(d.epoch)
	if len(d.root.items) == pageItems {
		d.root = &page{epoch: d.epoch, children: []*page{d.root}}
		d.root.split(0, n.Name())
	}
	for p := d.root; ; {
		i, found := p.search(n.Name())
		assert(!found, "an inserted child is new")
		if p.children == nil {
			p.items, p.prefixes = insertAt(p.items, i, n, pageItems), nil
			return
		}
		if child := p.writableChild(i); len(child.items) < pageItems {
			p = child
		} else {
			p.split(i, n.Name())
		}
	}
}

// remove removes the child of this name, which must exist.
func (d *Dir) remove(name string) {
	d.count--
	d.root = d.root.writable(d.epoch)
	d.root.remove(name)
	if len(d.root.items) > 0 {
		return
	}
	if d.root.children == nil {
		d.root = nil
	} else {
		d.root = d.root.children[0]
	}
}

// writable returns p if this epoch made it, or else a copy that this epoch can change.
func (p *page) writable(epoch uint64) *page {
	if p.epoch == epoch {
		return p
	}
	return &page{epoch: epoch, items: slices.Clone(p.items), children: slices.Clone(p.children), prefixes: p.prefixes}
}

// writableChild makes children[i] writable. p must be writable.
func (p *page) writableChild(i int) *page {
	p.children[i] = p.children[i].writable(p.epoch)
	return p.children[i]
}

// split divides the full page children[i], and moves the item between both parts up into p. It divides in the middle, unless
// name, which will be inserted, comes after all others: so names that arrive in order fill their pages.
func (p *page) split(i int, name string) {
	left := p.writableChild(i)
	at := pageItems / 2
	if left.items[len(left.items)-1].Name() < name {
		at = pageItems * 7 / 8
	}
	right := &page{epoch: p.epoch, items: slices.Clone(left.items[at+1:])}
	p.items, p.prefixes = insertAt(p.items, i, left.items[at], pageItems), nil
	left.items, left.prefixes = slices.Clone(left.items[:at]), nil
	if left.children != nil {
		right.children = slices.Clone(left.children[at+1:])
		left.children = slices.Clone(left.children[:at+1])
	}
	p.children = insertAt(p.children, i+1, right, pageItems+1)
}

// remove removes the item of this name from p, which is writable, or from the pages below it.
func (p *page) remove(name string) {
	i, found := p.search(name)
	if p.children == nil {
		assert(found, "a removed child exists")
		p.items, p.prefixes = slices.Delete(p.items, i, i+1), nil
		return
	}
	if found {
		p.items[i], p.prefixes = p.writableChild(i).removeLast(), nil
	} else {
		p.writableChild(i).remove(name)
	}
	p.rebalance(i)
}

// removeLast removes the last item of p and of the pages below it.
func (p *page) removeLast() *Node {
	last := len(p.items)
	if p.children == nil {
		n := p.items[last-1]
		p.items, p.prefixes = slices.Delete(p.items, last-1, last), nil
		return n
	}
	n := p.writableChild(last).removeLast()
	p.rebalance(last)
	return n
}

// rebalance merges children[i] with the page beside it if it has become too small. If both together are too large, it moves
// one item instead.
func (p *page) rebalance(i int) {
	if len(p.children[i].items) >= pageItemsMin || len(p.children) == 1 {
		return
	}
	if i == len(p.children)-1 {
		i--
	}
	left, right := p.writableChild(i), p.writableChild(i+1)
	p.prefixes, left.prefixes, right.prefixes = nil, nil, nil // names come and go in all three
	switch {
	case len(left.items)+len(right.items) < pageItems:
		left.items = append(append(left.items, p.items[i]), right.items...)
		left.children = append(left.children, right.children...)
		p.items = slices.Delete(p.items, i, i+1)
		p.children = slices.Delete(p.children, i+1, i+2)
	case len(left.items) < len(right.items):
		left.items = insertAt(left.items, len(left.items), p.items[i], pageItems)
		p.items[i] = right.items[0]
		right.items = slices.Delete(right.items, 0, 1)
		if right.children != nil {
			left.children = insertAt(left.children, len(left.children), right.children[0], pageItems+1)
			right.children = slices.Delete(right.children, 0, 1)
		}
	default:
		last := len(left.items) - 1
		right.items = insertAt(right.items, 0, p.items[i], pageItems)
		p.items[i] = left.items[last]
		left.items = slices.Delete(left.items, last, last+1)
		if left.children != nil {
			right.children = insertAt(right.children, 0, left.children[last+1], pageItems+1)
			left.children = slices.Delete(left.children, last+1, last+2)
		}
	}
}

// insertAt is slices.Insert for one element. The capacity doubles, up to most.
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
