package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/32 wide: exact
// enough for percentiles, and cheap enough to be filled by each connection.
// The zero value is empty.
type histogram struct {
	counts [64 * subBuckets]uint64
	total  uint64
	max    time.Duration
}

const subBuckets = 32

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile is the upper end of the bucket below which the share q of all
// durations lies; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return min(h.max, bucketEnd(i))
		}
	}
	return h.max
}

func bucketOf(d time.Duration) int {
	n := uint64(max(0, d))
	if n < subBuckets {
		return int(n)
	}
	shift := bits.Len64(n) - 6 // leaves a number of 6 bits, 32 to 63
	return (shift+1)*subBuckets + int(n>>shift) - subBuckets
}

// bucketEnd is the greatest duration of a bucket.
func bucketEnd(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	return time.Duration((uint64(i%subBuckets)+subBuckets+1)<<shift - 1)
}
