package upstream

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// An endpointList is all endpoints, preferred ones first. Its slice is replaced, not changed.
type endpointList struct {
	mu      sync.Mutex // guards replacing
	current atomic.Pointer[[]*Endpoint]
}

func (l *endpointList) all() []*Endpoint {
	if list := l.current.Load(); list != nil {
		return *list
	}
	return nil
}

// next gives the first available endpoint that was not tried. Without one it gives a second choice: of those that said that
// they were about to stop, the one that said so longest ago, since it may be back; or an unavailable one that answers; nil:
// there is none.
func (l *endpointList) next(tried []*Endpoint) *Endpoint {
	var second, last *Endpoint
	for _, e := range l.all() {
		outage := e.outage.Load()
		switch {
		case slices.Contains(tried, e) || outage != nil && !outage.answers:
		case outage != nil:
			last = cmp.Or(last, e)
		case !e.isSecondChoice():
			return e
		case second == nil || e.stopping.Load() < second.stopping.Load():
			second = e
		}
	}
	return cmp.Or(second, last)
}

// isAnyAvailable tells whether any endpoint is available.
func (l *endpointList) isAnyAvailable() bool {
	return slices.ContainsFunc(l.all(), (*Endpoint).IsAvailable)
}

// replace makes the list one of these URLs. Endpoints that remain keep their state and order, so that clients stay with
// their member (P13, P15). New ones are inserted at random positions, so that the clients of many proxies spread. Unless all
// are new, they are only a second choice until a probe has succeeded and has measured their distance.
func (l *endpointList) replace(urls []string, o *Options) (bad error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept, gone []*Endpoint
	known := map[string]bool{}
	for _, e := range l.all() {
		if slices.Contains(urls, e.URL) {
			kept = append(kept, e)
			known[e.URL] = true
		} else {
			gone = append(gone, e)
		}
	}
	old := len(kept)
	for _, text := range urls {
		if known[text] {
			continue
		}
		known[text] = true
		e, err := newEndpoint(text, o)
		if err != nil {
			bad = err
			continue
		}
		e.unproven.Store(old > 0)
		kept = slices.Insert(kept, rand.N(len(kept)+1), e)
	}
	l.current.Store(&kept)
	for _, e := range gone {
		e.retire()
		e.breakWatches()
	}
	return bad
}

// arrange puts the nearest endpoints first. It tells whether the first choice has changed.
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

// close closes all idle connections, and those that come back.
func (l *endpointList) close() {
	for _, e := range l.all() {
		e.retire()
	}
}
