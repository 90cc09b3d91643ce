package store

import (
	"testing"
)

// checkInvariants walks the whole store and checks what its parts promise one another.
func checkInvariants(t testing.TB, s *Store) {
	t.Helper()
	timed, _ := checkDirectory(t, s, s.root.dir, "")
	if timed != s.deadlines.Len() {
		t.Fatalf("%d nodes with a deadline, %d deadlines", timed, s.deadlines.Len())
	}
	h := s.hub.past()
	events, bytes, last := 0, int64(0), Index(0)
	for p := h.from(0); ; {
		e := p.next()
		if e == nil {
			break
		}
		if e.index <= last || e.index < h.oldest || e.index > h.newest {
			t.Fatalf("event %d after %d in the history of %d to %d", e.index, last, h.oldest, h.newest)
		}
		last = e.index
		events++
		bytes += e.size()
	}
	if events != h.events || bytes != h.bytes {
		t.Fatalf("history of %d events, %d bytes counts %d, %d", events, bytes, h.events, h.bytes)
	}
}

// checkDirectory checks order, counts, hashes and sizes of pages, and returns how many deadlines are below d, and the
// sum of the hashes.
func checkDirectory(t testing.TB, s *Store, d *directory, path string) (timed int, hash uint64) {
	t.Helper()
	var c cursor
	c.start(d)
	count, last := 0, ""
	for n := c.next(); n != nil; n = c.next() {
		if !isName(n.name) || n.name <= last || d.get(n.name) != n {
			t.Fatalf("%s: %q after %q", path, n.name, last)
		}
		last = n.name
		count++
		hash += n.hash(hashPath(path + "/" + n.name))
		if n.deadline != 0 {
			timed++
			if _, ok := s.deadlines.Get(deadline{n.deadline, path + "/" + n.name}); !ok {
				t.Fatalf("%s/%s: its deadline is not known", path, n.name)
			}
		}
		if n.dir != nil {
			below, sum := checkDirectory(t, s, n.dir, path+"/"+n.name)
			timed, hash = timed+below, hash+sum
		}
	}
	if hash != d.hash {
		t.Fatalf("%s: hash %x, counted %x", path, d.hash, hash)
	}
	if count != d.count || timed != d.timed {
		t.Fatalf("%s: %d children, %d deadlines; counted %d, %d", path, count, timed, d.count, d.timed)
	}
	if d.root != nil {
		checkPage(t, d.root, path)
	}
	return timed, hash
}

// checkPage checks sizes, and returns the height, which must be equal everywhere.
func checkPage(t testing.TB, p *page, path string) int {
	t.Helper()
	if len(p.items) == 0 || len(p.items) > pageItems || cap(p.items) > 2*pageItems {
		t.Fatalf("%s: a page of %d items in %d places", path, len(p.items), cap(p.items))
	}
	if h := p.heads; h != nil {
		if fresh := makeHeads(p.items); *h != *fresh {
			t.Fatalf("%s: the heads %v are not those of the names, %v", path, h, fresh)
		}
	}
	if p.kids == nil {
		return 1
	}
	if len(p.kids) != len(p.items)+1 {
		t.Fatalf("%s: %d pages under %d items", path, len(p.kids), len(p.items))
	}
	height := checkPage(t, p.kids[0], path)
	for _, kid := range p.kids[1:] {
		if checkPage(t, kid, path) != height {
			t.Fatalf("%s: the tree is not level", path)
		}
	}
	return height + 1
}
