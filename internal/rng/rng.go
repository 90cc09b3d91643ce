// Package rng gives random numbers to tests. Their seed is printed, and the flag -seed repeats it.
package rng

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one for each")

// New gives random numbers from Seed.
func New(t testing.TB) *rand.Rand { return rand.New(rand.NewPCG(Seed(t), 1)) }

// Seed gives the seed of a test, and prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := Given()
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("replay with -run '^%s$' -seed=%d", t.Name(), s)
	return s
}

// Given is the value of -seed; 0: none is given.
func Given() uint64 { return *seed }
