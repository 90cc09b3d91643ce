package proxy

import (
	"net"
	"slices"
	"time"
)

// Endpoints whose answers take within twice the time of each other, and a millisecond, are equally near. A probe over a
// network in one place takes a fraction of that, and what schedulers do to it is of the same size, so that less would
// be chance; and a write takes more than that for its quorum. Between places it is several times as much.
const (
	nearFactor = 2
	nearMargin = time.Millisecond

	// distanceSpan is for how many Options.FailureWait a difference has to last before it counts: 20 s by default.
	distanceSpan = 4
)

// A distance is how near an endpoint is, as probes found it. One goroutine at a time uses it.
type distance struct {
	here  bool             // on this host
	least [2]time.Duration // that an answer took, in the span that goes on, and in the one before
	begun time.Time        // the span that goes on; zero: nothing is known
}

// measure takes the answer to a probe into account.
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

// isNearerThan tells of a clear difference: on this host or not, or in what answers took at their quickest, which is
// what the way takes rather than what there was to do. It has to show in two spans, except at first. At most one of two
// endpoints is nearer than the other.
func (d *distance) isNearerThan(other *distance) bool {
	switch {
	case d.begun.IsZero() || other.begun.IsZero():
		return false
	case d.here || other.here:
		return !other.here
	}
	return slices.Min(other.least[:]) > nearFactor*slices.Max(d.least[:])+nearMargin
}

// arranged gives the endpoints in an order in which none comes after one that it is nearer than. Otherwise they stay
// as they are, so that clients stay with their member (P15), and those of many proxies spread over all that are equally
// near (P45).
func arranged(list []*endpoint) []*endpoint {
	left, order := slices.Clone(list), make([]*endpoint, 0, len(list))
	for len(left) > 0 {
		n := slices.IndexFunc(left, func(e *endpoint) bool {
			return !slices.ContainsFunc(left, func(other *endpoint) bool { return other.distance.isNearerThan(&e.distance) })
		})
		order, left = append(order, left[n]), slices.Delete(left, n, n+1)
	}
	return order
}

// isHere tells whether a connection ends on the host that it begins on: the system gives it the same address at both
// ends then.
func isHere(c net.Conn) bool {
	from, ok := c.LocalAddr().(*net.TCPAddr)
	to, ok2 := c.RemoteAddr().(*net.TCPAddr)
	return ok && ok2 && (to.IP.IsLoopback() || to.IP.Equal(from.IP))
}

// arrange puts those first that are nearest. It tells whether another one is the first choice now.
func (l *endpointList) arrange() (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.all()
	if len(before) == 0 {
		return false
	}
	now := arranged(before)
	l.current.Store(&now)
	return now[0] != before[0]
}
