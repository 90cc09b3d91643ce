package tree

// Cursor walks the children of a directory in order.
type Cursor struct{ stack []position }

// position is a position in a page: all items before items[i], and the pages between them, were visited.
type position struct {
	p *page
	i int
}

// Start puts the cursor before the first child of d.
func (c *Cursor) Start(d *Dir) {
	c.stack = c.stack[:0]
	c.descend(d.root)
}

// descend goes to the first item at or below p.
func (c *Cursor) descend(p *page) {
	for p != nil {
		c.stack = append(c.stack, position{p: p})
		if p.children == nil {
			return
		}
		p = p.children[0]
	}
}

// Next returns the next child, or nil after the last.
func (c *Cursor) Next() *Node {
	for len(c.stack) > 0 {
		top := &c.stack[len(c.stack)-1]
		if top.i == len(top.p.items) {
			c.stack = c.stack[:len(c.stack)-1]
			continue
		}
		n := top.p.items[top.i]
		top.i++
		if top.p.children != nil {
			c.descend(top.p.children[top.i])
		}
		return n
	}
	return nil
}
