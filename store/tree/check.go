package tree

import "fmt"

// Check walks the whole tree, and returns the first thing that is wrong with it. Tests use it.
func (t *Tree) Check() error { return t.root.Dir().check("") }

// check checks order, sums and pages of d and all directories below it.
func (d *Dir) check(path string) error {
	var c Cursor
	c.Start(d)
	sums, last := Dir{}, ""
	for n := c.Next(); n != nil; n = c.Next() {
		if !IsName(n.Name()) || n.Name() <= last || d.Get(n.Name()) != n {
			return fmt.Errorf("%s: %q after %q", path, n.Name(), last)
		}
		last = n.Name()
		below := path + "/" + n.Name()
		sums.count++
		sums.hash += n.hashAll(hashPath(below))
		sums.timed += n.timedNodes()
		if n.Dir() != nil {
			if err := n.Dir().check(below); err != nil {
				return err
			}
		}
	}
	if sums.count != d.count || sums.timed != d.timed || sums.hash != d.hash {
		return fmt.Errorf("%s: %d children, %d deadlines, hash %x; counted %d, %d, %x",
			path, d.count, d.timed, d.hash, sums.count, sums.timed, sums.hash)
	}
	if d.root == nil {
		return nil
	}
	_, err := d.root.check()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// check checks the sizes of p and the pages below it, and returns the height, which is equal everywhere.
func (p *page) check() (height int, err error) {
	if len(p.items) == 0 || len(p.items) > pageItems || cap(p.items) > 2*pageItems {
		return 0, fmt.Errorf("a page of %d items in room for %d", len(p.items), cap(p.items))
	}
	if x := p.prefixes; x != nil && *x != *makePrefixes(p.items) {
		return 0, fmt.Errorf("the prefixes %v are not those of the names", x)
	}
	if p.children == nil {
		return 1, nil
	}
	if len(p.children) != len(p.items)+1 {
		return 0, fmt.Errorf("%d pages under %d items", len(p.children), len(p.items))
	}
	for i, child := range p.children {
		below, err := child.check()
		switch {
		case err != nil:
			return 0, err
		case i > 0 && below != height:
			return 0, fmt.Errorf("pages of heights %d and %d in one page", height, below)
		}
		height = below
	}
	return height + 1, nil
}
