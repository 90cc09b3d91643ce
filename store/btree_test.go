package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"canopy/internal/rng"
)

// TestDirectoriesMatchASortedSlice makes random changes in random batches and checks that the directory is the same as
// a sorted slice of names, and that the directories of earlier batches stay as they were.
func TestDirectoriesMatchASortedSlice(t *testing.T) {
	s := rng.Seed(t)
	for round := range 12 {
		rng := rand.New(rand.NewPCG(s, uint64(round)))
		names := 20 << (round % 8) // small ones shrink to nothing again and again
		root := newRoot(1)
		var want []string
		type frozen struct {
			d    *directory
			want []string
		}
		var old []frozen
		for batch := range 400 {
			root = root.fork(uint64(batch + 2))
			growing := rng.IntN(3) > 0
			for range rng.IntN(60) {
				name := fmt.Sprintf(shapes[round%len(shapes)], rng.IntN(names))
				want = randomChange(rng, root.dir, want, name, growing)
			}
			if batch%20 == 0 {
				old = append(old, frozen{root.dir, slices.Clone(want)})
				sameNames(t, root.dir, want)
			}
		}
		sameNames(t, root.dir, want)
		for _, f := range old {
			sameNames(t, f.d, f.want)
		}
	}
}

// shapes of names: they differ within the first bytes behind what they have in common, or only after those, or in
// whether they end there.
var shapes = []string{"n%06d", "%d", "a-rather-long-beginning-%d-and-end", "%d\x00\x00", "%020d"}

// TestAPageThatIsSplitForgetsItsHeads splits a page that has heads, so that the new name goes to either half.
func TestAPageThatIsSplitForgetsItsHeads(t *testing.T) {
	for _, name := range []string{"00a", "99a"} {
		d := newRoot(1).dir
		for i := range pageItems {
			d.insert(&node{name: fmt.Sprintf("%02d", i)})
		}
		d.replace("07", &node{name: "07"})
		if d.root.heads == nil {
			t.Fatal("a page in which a name was replaced has no heads")
		}
		d.insert(&node{name: name})
		checkPage(t, d.root, name)
	}
}

// TestNamesThatEndInZerosAreToldApart searches a page with heads for names that differ in nothing else.
func TestNamesThatEndInZerosAreToldApart(t *testing.T) {
	d, names := newRoot(1).dir, []string(nil)
	for _, beginning := range []string{"", "a", "aaaaaaa", "aaaaaaaa", "aaaaaaaaa"} {
		for zeros := range 4 {
			if name := beginning + strings.Repeat("\x00", zeros); name != "" {
				d.insert(&node{name: name})
				names = append(names, name)
			}
		}
	}
	d.replace("a", &node{name: "a"})
	if d.root.heads == nil || d.root.kids != nil {
		t.Fatal("the names are not in one page with heads")
	}
	sameNames(t, d, slices.Sorted(slices.Values(names)))
}

// TestHeadsAreCounted looks for heads that are there once, several times, or not, among any number of them.
func TestHeadsAreCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for n := 1; n <= pageItems; n++ {
		for range 20 {
			h := makeHeads([]*node{{}})
			for i := range n {
				h.of[i] = []uint64{0, 1, math.MaxUint64 - 1, math.MaxUint64, rng.Uint64N(100), rng.Uint64()}[rng.IntN(6)]
			}
			slices.Sort(h.of[:n])
			for _, head := range append([]uint64{0, 1, 50, math.MaxUint64 - 1, math.MaxUint64}, h.of[:n]...) {
				wantLow, _ := slices.BinarySearch(h.of[:n], head)
				wantHigh := wantLow
				for wantHigh < n && h.of[wantHigh] == head {
					wantHigh++
				}
				if low, high := h.run(head, n); low != wantLow || high != wantHigh {
					t.Fatalf("head %d of %v is at %d to %d, want %d to %d", head, h.of[:n], low, high, wantLow, wantHigh)
				}
			}
		}
	}
}

// randomChange inserts, replaces or removes a name.
func randomChange(rng *rand.Rand, d *directory, want []string, name string, growing bool) []string {
	i, found := slices.BinarySearch(want, name)
	switch {
	case !found && growing:
		d.insert(&node{name: name})
		return slices.Insert(want, i, name)
	case found && rng.IntN(4) == 0:
		d.replace(name, &node{name: name, value: "new"})
	case found && !growing:
		d.remove(name)
		return slices.Delete(want, i, i+1)
	}
	return want
}

func sameNames(t *testing.T, d *directory, want []string) {
	t.Helper()
	var got []string
	var c cursor
	c.start(d)
	for n := c.next(); n != nil; n = c.next() {
		got = append(got, n.name)
		if d.get(n.name) != n {
			t.Fatalf("%s is listed but not found", n.name)
		}
	}
	if !slices.Equal(got, want) || d.count != len(want) {
		t.Fatalf("%d names, count %d, want %d", len(got), d.count, len(want))
	}
	if d.root != nil {
		checkPage(t, d.root, "")
	}
}

// TestNamesInOrderFillTheirPages guards the memory of directories that are written or loaded in order.
func TestNamesInOrderFillTheirPages(t *testing.T) {
	root := newRoot(1)
	const count = 100_000
	for i := range count {
		root.dir.insert(&node{name: fmt.Sprintf("%08d", i)})
	}
	var pages func(p *page) int
	pages = func(p *page) int {
		sum := 1
		for _, kid := range p.kids {
			sum += pages(kid)
		}
		return sum
	}
	if got, most := pages(root.dir.root), count/pageItems*5/4; got > most {
		t.Errorf("%d pages for %d names, want at most %d", got, count, most)
	}
}

// TestRemovingAllEmptiesTheTree removes in order, in reverse and from the middle.
func TestRemovingAllEmptiesTheTree(t *testing.T) {
	const count = 5000
	for title, at := range map[string]func(left int) int{
		"first": func(int) int { return 0 }, "last": func(left int) int { return left - 1 }, "middle": func(left int) int { return left / 2 },
	} {
		root, names := newRoot(1), []string(nil)
		for i := range count {
			names = append(names, fmt.Sprintf("%08d", i))
			root.dir.insert(&node{name: strings.Clone(names[i])})
		}
		for len(names) > 0 {
			i := at(len(names))
			root.dir.remove(names[i])
			names = slices.Delete(names, i, i+1)
			if len(names)%500 == 0 {
				sameNames(t, root.dir, names)
			}
		}
		if root.dir.root != nil {
			t.Errorf("%s: an empty directory keeps pages", title)
		}
	}
}
