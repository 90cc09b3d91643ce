package quorum

import (
	"math"
	"slices"
	"testing"

	"canopy/internal/rng"
)

// naiveReached tries all numbers from the highest down.
func naiveReached(acks []uint64) uint64 {
	candidates := slices.Sorted(slices.Values(acks))
	slices.Reverse(candidates)
	for _, c := range candidates {
		n := 0
		for _, a := range acks {
			if a >= c {
				n++
			}
		}
		if 2*n > len(acks) {
			return c
		}
	}
	return math.MaxUint64
}

func TestReachedAgreesWithCounting(t *testing.T) {
	r := rng.New(t)
	for range 50_000 {
		acks := make([]uint64, r.IntN(12))
		for i := range acks {
			acks[i] = r.Uint64N(1 + r.Uint64N(20))
		}
		want := naiveReached(acks)
		if got := Reached(slices.Clone(acks)); got != want {
			t.Fatalf("Reached(%v) = %d, want %d", acks, got, want)
		}
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		name string
		acks []uint64
		want uint64
	}{
		{"nobody agrees with everything", nil, math.MaxUint64},
		{"one decides alone", []uint64{7}, 7},
		{"of two both are needed", []uint64{7, 3}, 3},
		{"of three the middle one", []uint64{9, 1, 4}, 4},
		{"of four the third", []uint64{9, 1, 4, 6}, 4},
		{"of five the middle one", []uint64{5, 4, 3, 2, 1}, 3},
	} {
		if got := Reached(slices.Clone(c.acks)); got != c.want {
			t.Errorf("%s: Reached(%v) = %d, want %d", c.name, c.acks, got, c.want)
		}
	}
}

// All votes of up to eight voters: the result must be what every completion of the vote has in common.
func TestCountIsWhatEveryCompletionSays(t *testing.T) {
	for n := range 9 {
		for yes := range n + 1 {
			for no := range n - yes + 1 {
				won, lost := 0, 0
				open := n - yes - no
				for more := range open + 1 {
					if n == 0 || 2*(yes+more) > n {
						won++
					} else {
						lost++
					}
				}
				want := Pending
				if lost == 0 {
					want = Won
				} else if won == 0 {
					want = Lost
				}
				if got := Count(yes, no, n); got != want {
					t.Errorf("Count(%d, %d, %d) = %d, want %d", yes, no, n, got, want)
				}
			}
		}
	}
}

func TestReachedDoesNotAllocate(t *testing.T) {
	acks := []uint64{3, 1, 2, 5, 4}
	if n := testing.AllocsPerRun(100, func() { Reached(acks) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
