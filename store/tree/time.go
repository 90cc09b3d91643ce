package tree

import "math"

// Index counts the successful mutations since the cluster began; the API calls it X-Etcd-Index.
type Index uint64

// Time is log time in nanoseconds since 1970, UTC. 0 means "none".
type Time int64

// Duration is a span of log time in nanoseconds.
type Duration int64

// Second is the unit of TTLs.
const Second Duration = 1_000_000_000

// Add returns t + d. d must not be negative. The result stops at the end of time rather than wrapping.
func (t Time) Add(d Duration) Time {
	if t > math.MaxInt64-Time(d) {
		return math.MaxInt64
	}
	return t + Time(d)
}

// Clock is log time, and what turns the deadline of a node into a time.
type Clock struct {
	Now   Time
	Shift Duration // 0 <= Shift: how far all deadlines were moved
}

// Expiration is the time at which a node with this deadline expires.
func (c Clock) Expiration(deadline Time) Time { return deadline.Add(c.Shift) }
