package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Quantiles are compared with those of a sorted slice of the same durations.
func TestQuantilesAgreeWithASortedSlice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	for round := range 50 {
		var h, other Histogram
		var all []time.Duration
		for i := range 1 + dice.IntN(3000) {
			d := time.Duration(dice.Uint64N(1 << (1 + dice.UintN(39))))
			all = append(all, d)
			if i%2 == 0 {
				h.Record(d)
			} else {
				other.Record(d)
			}
		}
		h.Merge(&other)
		slices.Sort(all)
		if h.Count() != uint64(len(all)) || h.Max() != all[len(all)-1] || h.Min() != all[0] {
			t.Fatalf("round %d: count, min, max = %d, %v, %v, want %d, %v, %v",
				round, h.Count(), h.Min(), h.Max(), len(all), all[0], all[len(all)-1])
		}
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(int(q*float64(len(all))+0.999999), 1)
			want := all[rank-1]
			got := h.Quantile(q)
			if got < want || got > want+want/sub {
				t.Errorf("round %d: Quantile(%v) = %d, want %d or up to 1/%d more", round, q, got, want, sub)
			}
		}
	}
}

func TestEveryDurationIsWithinItsBucket(t *testing.T) {
	for shift := range 45 {
		for _, step := range []int64{-1, 0, 1} {
			d := max(time.Duration(1)<<shift+time.Duration(step), 0)
			b := bucketOf(d)
			if d > upperEnd(b) {
				t.Errorf("bucketOf(%d) = %d, which ends at %d", d, b, upperEnd(b))
			}
			if b > 0 && d <= upperEnd(b-1) {
				t.Errorf("bucketOf(%d) = %d, but bucket %d reaches to %d", d, b, b-1, upperEnd(b-1))
			}
		}
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("Quantile of nothing = %v, want 0", got)
	}
	h.Merge(new(Histogram))
	if h.Count() != 0 || h.Max() != 0 {
		t.Errorf("merging nothing left count %d, max %v", h.Count(), h.Max())
	}
	h.Record(-time.Second)
	if h.Max() != 0 || h.Count() != 1 {
		t.Errorf("a negative duration counted as %v, want 0", h.Max())
	}
	h.Record(100 * time.Hour)
	if got := h.Quantile(1); got != 100*time.Hour {
		t.Errorf("Quantile(1) = %v, want the exact maximum 100h", got)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(1000, func() { h.Record(time.Millisecond) }); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}
