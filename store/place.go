package store

import (
	"iter"
	"strings"
)

// place is a component of a watched path, in the hub's tree. Most places have one kid, and a path may have thousands of
// components, so a map is only made for the second.
type place struct {
	name     string
	parent   *place
	only     *place            // the kid, while there is one at most
	kids     map[string]*place // all kids, once there have been two; nil again when there is none
	watchers []*Watcher
}

// kid returns the place of this name below p, or nil.
func (p *place) kid(name string) *place {
	if p.only != nil && p.only.name == name {
		return p.only
	}
	return p.kids[name]
}

// makeKid returns the place of this name below p, a new one if there is none.
func (p *place) makeKid(name string) *place {
	kid := p.kid(name)
	if kid != nil {
		return kid
	}
	kid = &place{name: strings.Clone(name), parent: p}
	switch {
	case p.kids != nil:
		p.kids[kid.name] = kid
	case p.only == nil:
		p.only = kid
	default:
		p.kids = map[string]*place{p.only.name: p.only, kid.name: kid}
		p.only = nil
	}
	return kid
}

// prune takes p, and then its parents, out of the tree, as long as nobody watches at or below them.
func (p *place) prune() {
	for p.parent != nil && len(p.watchers) == 0 && p.count() == 0 {
		up := p.parent
		if up.only == p {
			up.only = nil
		} else if delete(up.kids, p.name); len(up.kids) == 0 {
			up.kids = nil
		}
		p = up
	}
}

// count is the number of kids.
func (p *place) count() int {
	if p.only != nil {
		return 1
	}
	return len(p.kids)
}

// all goes through the kids, in no order. They may be pruned meanwhile.
func (p *place) all() iter.Seq[*place] {
	return func(yield func(*place) bool) {
		if p.only != nil {
			yield(p.only)
			return
		}
		for _, kid := range p.kids {
			if !yield(kid) {
				return
			}
		}
	}
}
