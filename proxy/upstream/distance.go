package upstream

import (
	"net"
	"slices"
	"time"
)

// Endpoints are equally near if the times of their answers differ by at most a factor of two and a millisecond. A probe
// within one site takes a fraction of that, and scheduling delays are of the same size, so a smaller difference would be
// random; and a write takes longer for its quorum. Between sites the difference is several times as large.
const (
	nearFactor = 2
	nearMargin = time.Millisecond

	// distanceSpan is for how many times Options.FailureWait a difference must last before it counts: 20 s by default.
	distanceSpan = 4
)

// A distance tells how near an endpoint is, measured by probes. One goroutine at a time uses it.
type distance struct {
	here  bool             // on this host
	least [2]time.Duration // shortest time of an answer, in the present span, and in the one before
	begun time.Time        // beginning of the present span; zero: nothing is known
}

// measure adds the answer to a probe.
func (d *distance) measure(here bool, took time.Duration, now time.Time, span time.Duration) {
	d.here = here
	switch {
	case d.begun.IsZero():
		d.least, d.begun = [2]time.Duration{took, took}, now
	case now.Sub(d.begun) >= span:
		d.least, d.begun = [2]time.Duration{took, d.least[0]}, now
	default:
		d.least[0] = min(d.least[0], took)
	}
}

// isNearerThan tells whether there is a clear difference: one is on this host and the other is not, or the shortest times
// of answers differ, which depend on the network and not on load. Two spans must show it, except at first. At most one of
// two endpoints is nearer than the other.
func (d *distance) isNearerThan(other *distance) bool {
	switch {
	case d.begun.IsZero() || other.begun.IsZero():
		return false
	case d.here || other.here:
		return !other.here
	}
	return slices.Min(other.least[:]) > nearFactor*slices.Max(d.least[:])+nearMargin
}

// arranged sorts the endpoints so that none comes after one that it is nearer than. Otherwise it keeps their order, so that
// clients stay with their member (P15), and the clients of many proxies spread over all that are equally near (P45).
func arranged(list []*Endpoint) []*Endpoint {
	left, order := slices.Clone(list), make([]*Endpoint, 0, len(list))
	for len(left) > 0 {
		n := slices.IndexFunc(left, func(e *Endpoint) bool {
			return !slices.ContainsFunc(left, func(other *Endpoint) bool { return other.distance.isNearerThan(&e.distance) })
		})
		order, left = append(order, left[n]), slices.Delete(left, n, n+1)
	}
	return order
}

// isHere tells whether a connection ends on the host that it begins on: then the system gives it the same address at both
// ends.
func isHere(c net.Conn) bool {
	from, ok := c.LocalAddr().(*net.TCPAddr)
	to, ok2 := c.RemoteAddr().(*net.TCPAddr)
	return ok && ok2 && (to.IP.IsLoopback() || to.IP.Equal(from.IP))
}
