// Package quorum is the arithmetic of majorities: what a majority has reached, and the result of a vote.
//
// It knows no member and no protocol. A set without voters agrees with everything; the caller never has such a configuration.
package quorum

import "math"

// Size is how many of n voters make a majority.
func Size(n int) int { return n/2 + 1 }

// Reached gives the highest number that a majority has reached: each voter has reached all numbers up to its own in acks.
// It sorts acks.
func Reached[T ~uint64](acks []T) T {
	if len(acks) == 0 {
		return math.MaxUint64
	}
	// Insertion sort, falling: there are few voters, and they are nearly in order most of the time.
	for i := 1; i < len(acks); i++ {
		for k := i; k > 0 && acks[k] > acks[k-1]; k-- {
			acks[k], acks[k-1] = acks[k-1], acks[k]
		}
	}
	return acks[Size(len(acks))-1]
}

// Result is the result of a vote.
type Result uint8

// The results.
const (
	Pending Result = iota // the missing votes decide
	Won                   // a majority says yes
	Lost                  // a majority is not possible any more
)

// Count gives the result of a vote among n voters.
func Count(yes, no, n int) Result {
	switch {
	case n == 0 || yes >= Size(n):
		return Won
	case n-no < Size(n):
		return Lost
	}
	return Pending
}
