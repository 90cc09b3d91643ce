package watch

import (
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store/tree"
)

// TestLengthsAreThoseOfTheJSON compares what changes say of the length of their JSON with the JSON itself.
func TestLengthsAreThoseOfTheJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(rng.Seed(t), 0))
	node := func() *tree.Node {
		value, dir, deadline := strings.Repeat("\x01<é\xff\u2028", r.IntN(10)), (*tree.Dir)(nil), tree.Time(0)
		if r.IntN(3) == 0 {
			value, dir = "", tree.New().NewDir()
		}
		if r.IntN(2) == 0 {
			deadline = tree.Time(r.Int64())
		}
		return tree.NewNode(value, dir, tree.Index(r.Uint64()>>r.IntN(64)), tree.Index(r.Uint64()>>r.IntN(64)), deadline)
	}
	for range 10_000 {
		c := Change{Action: ActionSet, Key: strings.Repeat("/a\"\xfe", r.IntN(5)), Index: tree.Index(r.Uint64() >> r.IntN(64)),
			Clock: tree.Clock{Now: tree.Time(r.Int64()), Shift: tree.Duration(r.Int64N(1e12))}}
		if r.IntN(3) > 0 {
			c.Node = node()
		}
		if c.Node == nil || r.IntN(2) == 0 {
			c.Old = node()
		}
		if json := c.appendJSON(nil); c.jsonLen() != len(json) || c.minBytes() > int64(len(json)) {
			t.Fatalf("%d bytes, and at least %d, are expected of %s", c.jsonLen(), c.minBytes(), json)
		}
	}
}
