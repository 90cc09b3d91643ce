// Package histogram counts durations in buckets whose width grows with the
// duration, so that one small array holds a microsecond and a minute alike.
//
// Each power of two is cut into 128 equal buckets: a quantile read back is at
// most 1/128 (0.8 %) above the true one, and never below it. The maximum, the
// minimum and the count are exact.
//
//	bucket   0 … 127    128 … 255    256 … 383   …
//	ns       0 … 127    128 … 255    256 … 511   …   width 1, 1, 2, 4, …
package histogram

import (
	"math/bits"
	"time"
)

const (
	subBits    = 7            // buckets in a power of two: 1 << subBits
	sub        = 1 << subBits //
	valueBits  = 40           // durations from 2^40 ns (18 min) on share the last bucket
	buckets    = (valueBits - subBits + 1) * sub
	valueLimit = 1<<valueBits - 1
)

// Histogram counts durations. The zero value is empty and ready. It is used by
// one goroutine; Merge adds up what several have counted.
type Histogram struct {
	counts   [buckets]uint64
	count    uint64
	min, max time.Duration
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	if h.count == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.count++
	h.counts[bucketOf(d)]++
}

// Merge adds all that o has counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.count == 0 {
		return
	}
	if h.count == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.count += o.count
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the longest duration recorded, exactly; zero when empty.
func (h *Histogram) Max() time.Duration { return h.max }

// Min is the shortest duration recorded, exactly; zero when empty.
func (h *Histogram) Min() time.Duration { return h.min }

// Quantile returns a duration that at least the share q (0…1) of all recorded
// ones do not exceed: the upper end of its bucket, but no more than Max. It is
// zero when the histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q*float64(h.count) + 0.999999)
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return max(h.min, min(upperEnd(i), h.max))
		}
	}
	return h.max
}

// bucketOf finds the bucket of a duration that is not negative.
func bucketOf(d time.Duration) int {
	v := uint64(min(d, valueLimit))
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)*sub + int(v>>shift) - sub
}

// upperEnd is the greatest duration of bucket i.
func upperEnd(i int) time.Duration {
	if i == buckets-1 {
		return 1<<63 - 1
	}
	if i < sub {
		return time.Duration(i)
	}
	shift := i/sub - 1
	return time.Duration(uint64(i%sub+sub+1)<<shift - 1)
}
