package service

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"canopy/internal/httpserver"
)

// addressesMax is how many addresses each of two generations has. A forgotten
// address starts again with a full burst, which it would have after a short wait
// anyway.
const addressesMax = 4096

// limiter bounds how much one address may do in a time.
type limiter struct {
	limit rate.Limit
	burst int

	// mu guards the fields below, for the length of one method.
	mu       sync.Mutex
	now, old map[netip.Prefix]*rate.Limiter
}

// newLimiter allows so many events a second, with a burst; 0: no limit.
func newLimiter(perSecond float64, burst int) *limiter {
	l := &limiter{limit: rate.Limit(perSecond), burst: burst, now: map[netip.Prefix]*rate.Limiter{}}
	if perSecond <= 0 {
		l.limit = rate.Inf
	}
	return l
}

// burst is how many events may come at once: those of so many units of time, and
// at least as many as a cluster needs that starts behind one address.
func burst(each, units float64) int { return max(10, int(each*units)) }

// allow counts an event; false: it is refused.
func (l *limiter) allow(address netip.Prefix) bool {
	if l.limit == rate.Inf {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens := l.now[address]
	if tokens == nil {
		if tokens = l.old[address]; tokens == nil {
			tokens = rate.NewLimiter(l.limit, l.burst)
		}
		if len(l.now) >= addressesMax {
			l.now, l.old = map[netip.Prefix]*rate.Limiter{}, l.now
		}
		l.now[address] = tokens
	}
	return tokens.Allow()
}

// waitsMax is how many waits one address may have open, unless they would take
// more than waitsPart of the memory for requests.
const (
	waitsMax  = 256
	waitsPart = 4
)

// waiters counts the open waits, by address.
type waiters struct {
	most int // of one address
	// mu guards open, for the length of one method.
	mu   sync.Mutex
	open map[netip.Prefix]int
}

func newWaiters(memory int64) waiters {
	return waiters{most: int(min(waitsMax, max(1, memory/waitsPart/(connectionBytes+requestBytes)))), open: map[netip.Prefix]int{}}
}

// enter counts a wait; false: it is refused. Each wait that is counted needs a
// leave.
func (w *waiters) enter(address netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[address] >= w.most {
		return false
	}
	w.open[address]++
	return true
}

func (w *waiters) leave(address netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[address]--; w.open[address] == 0 {
		delete(w.open, address)
	}
}

// address is the client of a request: an IPv4 address, or a network of IPv6, since
// one host can have all of its addresses.
func (s *Service) address(r *http.Request) netip.Prefix {
	var a netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		a = at.Addr()
	}
	if s.o.Forwarded { // the last one is the address that the proxy in front has seen
		list := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
		if told, err := netip.ParseAddr(strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])); err == nil {
			a = told
		}
	}
	return httpserver.ClientOfAddr(a)
}
