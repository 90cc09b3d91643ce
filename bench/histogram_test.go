package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Every duration is within its bucket, and the bucket is at most 1/32 wide.
func TestBucketsHoldTheirDurations(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		d := time.Duration(rng.Int64() >> rng.IntN(63))
		i := bucketOf(d)
		end := bucketEnd(i)
		begin := time.Duration(0)
		if i > 0 {
			begin = bucketEnd(i-1) + 1
		}
		if d < begin || d > end {
			t.Fatalf("bucketOf(%d) = %d, which holds %d to %d", d, i, begin, end)
		}
		if width := end - begin; width > d/32+1 {
			t.Fatalf("the bucket of %d is %d wide", d, width)
		}
	}
}

func TestQuantilesAreNearTheSortedOnes(t *testing.T) {
	var h, half histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(i*i) * time.Microsecond
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			half.add(d)
		}
	}
	h.merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		if got := h.quantile(q); got < want || got > want+want/16+1 {
			t.Errorf("quantile(%v) = %v, want about %v", q, got, want)
		}
	}
	if h.max != all[len(all)-1] || h.quantile(1) != h.max {
		t.Errorf("max = %v, quantile(1) = %v, want %v", h.max, h.quantile(1), all[len(all)-1])
	}
	if got := (&histogram{}).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}
