package tree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"canopy/internal/rng"
)

// TestDirectoriesMatchASortedSlice makes random changes in random batches. The directory must equal a sorted slice of names,
// and the directories of earlier batches must not change.
func TestDirectoriesMatchASortedSlice(t *testing.T) {
	s := rng.Seed(t)
	for round := range 12 {
		rng := rand.New(rand.NewPCG(s, uint64(round)))
		names := 20 << (round % 8) // small ones often become empty
		root := newRoot(1)
		var want []string
		type frozen struct {
			d    *Dir
			want []string
		}
		var old []frozen
		for batch := range 400 {
			root = root.fork(uint64(batch + 2))
			growing := rng.IntN(3) > 0
			for range rng.IntN(60) {
				name := fmt.Sprintf(shapes[round%len(shapes)], rng.IntN(names))
				want = randomChange(rng, root.Dir(), want, name, growing)
			}
			if batch%20 == 0 {
				old = append(old, frozen{root.Dir(), slices.Clone(want)})
				sameNames(t, root.Dir(), want)
			}
		}
		sameNames(t, root.Dir(), want)
		for _, f := range old {
			sameNames(t, f.d, f.want)
		}
	}
}

// shapes of names. They differ within the first bytes behind their common prefix, or only behind these, or in their length.
var shapes = []string{"n%06d", "%d", "a-rather-long-beginning-%d-and-end", "%d\x00\x00", "%020d"}

// TestAPageThatIsSplitDropsItsPrefixes splits a page that has prefixes, so that the new name goes to either half.
func TestAPageThatIsSplitDropsItsPrefixes(t *testing.T) {
	for _, name := range []string{"00a", "99a"} {
		d := newRoot(1).Dir()
		for i := range pageItems {
			d.insert(valued(fmt.Sprintf("%02d", i), ""))
		}
		d.replace("07", valued("07", ""))
		if d.root.prefixes == nil {
			t.Fatal("a page in which a name was replaced has no prefixes")
		}
		d.insert(valued(name, ""))
		checkPages(t, d)
	}
}

// TestNamesThatEndInZerosAreToldApart searches a page with prefixes for names that differ only in zeros at their end.
func TestNamesThatEndInZerosAreToldApart(t *testing.T) {
	d, names := newRoot(1).Dir(), []string(nil)
	for _, beginning := range []string{"", "a", "aaaaaaa", "aaaaaaaa", "aaaaaaaaa"} {
		for zeros := range 4 {
			if name := beginning + strings.Repeat("\x00", zeros); name != "" {
				d.insert(valued(name, ""))
				names = append(names, name)
			}
		}
	}
	d.replace("a", valued("a", ""))
	if d.root.prefixes == nil || d.root.children != nil {
		t.Fatal("the names are not in one page with prefixes")
	}
	sameNames(t, d, slices.Sorted(slices.Values(names)))
}

// TestPrefixesAreFound looks for words that are there once, several times, or not, among any number of them.
func TestPrefixesAreFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for n := 1; n <= pageItems; n++ {
		for range 20 {
			p := makePrefixes([]*Node{{}})
			for i := range n {
				p.words[i] = []uint64{0, 1, math.MaxUint64 - 1, math.MaxUint64, rng.Uint64N(100), rng.Uint64()}[rng.IntN(6)]
			}
			slices.Sort(p.words[:n])
			for _, word := range append([]uint64{0, 1, 50, math.MaxUint64 - 1, math.MaxUint64}, p.words[:n]...) {
				wantLow, _ := slices.BinarySearch(p.words[:n], word)
				wantHigh := wantLow
				for wantHigh < n && p.words[wantHigh] == word {
					wantHigh++
				}
				if low, high := p.find(word, n); low != wantLow || high != wantHigh {
					t.Fatalf("word %d of %v is at %d to %d, want %d to %d", word, p.words[:n], low, high, wantLow, wantHigh)
				}
			}
		}
	}
}

// randomChange inserts, replaces or removes a name.
func randomChange(rng *rand.Rand, d *Dir, want []string, name string, growing bool) []string {
	i, found := slices.BinarySearch(want, name)
	switch {
	case !found && growing:
		d.insert(valued(name, ""))
		return slices.Insert(want, i, name)
	case found && rng.IntN(4) == 0:
		d.replace(name, valued(name, "new"))
	case found && !growing:
		d.remove(name)
		return slices.Delete(want, i, i+1)
	}
	return want
}

// newRoot is the root of an empty tree.
func newRoot(epoch uint64) *Node { return NewNode("", &Dir{epoch: epoch}, 0, 0, 0) }

// valued is a file with a name and a value.
func valued(name, value string) *Node {
	n := NewNode(value, nil, 1, 1, 0)
	n.name = name
	return n
}

func checkPages(t *testing.T, d *Dir) {
	t.Helper()
	if d.root == nil {
		return
	}
	if _, err := d.root.check(); err != nil {
		t.Fatal(err)
	}
}

func sameNames(t *testing.T, d *Dir, want []string) {
	t.Helper()
	var got []string
	var c Cursor
	c.Start(d)
	for n := c.Next(); n != nil; n = c.Next() {
		got = append(got, n.Name())
		if d.Get(n.Name()) != n {
			t.Fatalf("%s is listed but not found", n.Name())
		}
	}
	if !slices.Equal(got, want) || d.count != len(want) {
		t.Fatalf("%d names, count %d, want %d", len(got), d.count, len(want))
	}
	checkPages(t, d)
}

// TestNamesInOrderFillTheirPages bounds the memory of directories that are written or loaded in order.
func TestNamesInOrderFillTheirPages(t *testing.T) {
	root := newRoot(1)
	const count = 100_000
	for i := range count {
		root.Dir().insert(valued(fmt.Sprintf("%08d", i), ""))
	}
	var pages func(p *page) int
	pages = func(p *page) int {
		sum := 1
		for _, child := range p.children {
			sum += pages(child)
		}
		return sum
	}
	if got, most := pages(root.Dir().root), count/pageItems*5/4; got > most {
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
			root.Dir().insert(valued(strings.Clone(names[i]), ""))
		}
		for len(names) > 0 {
			i := at(len(names))
			root.Dir().remove(names[i])
			names = slices.Delete(names, i, i+1)
			if len(names)%500 == 0 {
				sameNames(t, root.Dir(), names)
			}
		}
		if root.Dir().root != nil {
			t.Errorf("%s: an empty directory keeps pages", title)
		}
	}
}
