package replica

import (
	"testing"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/rng"
	"canopy/store"
)

// Processes send their requests out of order, several times and through saved
// and loaded states: each is applied exactly once (K123).
func TestEachRequestIsAppliedOnce(t *testing.T) {
	r := rng.New(t)
	for range 50 {
		s := newSessions()
		type process struct {
			next     uint64
			finished uint64
			open     map[uint64]bool // sent, and not answered: it may be sent again
			applied  map[uint64]int
		}
		processes := map[uint64]*process{}
		for range 3 {
			processes[r.Uint64()] = &process{next: 1, open: map[uint64]bool{}, applied: map[uint64]int{}}
		}
		now := store.Time(1)
		for range 3000 {
			for id, p := range processes {
				now++
				if r.IntN(2) == 0 {
					p.open[p.next] = true
					p.next += 1 + uint64(r.IntN(5))
				}
				for request := range p.open {
					if r.IntN(4) > 0 {
						continue
					}
					if s.begin(id, request, p.finished, now) {
						p.applied[request]++
					}
					if p.applied[request] != 1 || !s.has(id, request) {
						t.Fatalf("request %d, all finished up to %d, was applied %d times", request, p.finished, p.applied[request])
					}
					if r.IntN(2) == 0 {
						delete(p.open, request)
					}
				}
				lowest := p.next
				for request := range p.open {
					lowest = min(lowest, request)
				}
				if r.IntN(8) == 0 {
					p.finished = lowest - 1
				}
			}
			if r.IntN(100) == 0 {
				s = sessionsFromProto(s.toProto())
			}
		}
	}
}

// What a request says of its session cannot take more memory than its span,
// and a session that is idle is forgotten.
func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	if s.begin(7, SessionSpan+64, 0, 1) {
		t.Error("a request far ahead of its session was applied")
	}
	if !s.begin(7, SessionSpan-1, 0, 1) {
		t.Error("a request within the span was not applied")
	}
	if words := len(s.byID[7].applied); words > SessionSpan/64 {
		t.Errorf("%d words are kept", words)
	}
	s.begin(8, 1, 0, store.Time(time.Hour))
	if len(s.byID) != 1 {
		t.Errorf("%d sessions are kept after an hour, want 1", len(s.byID))
	}
	loaded := sessionsFromProto([]*pb.Session{{Id: 1, Finished: 1 << 63, Applied: make([]uint64, SessionSpan)}})
	if words := len(loaded.byID[1].applied); words > SessionSpan/64 {
		t.Errorf("%d words were loaded", words)
	}
}

// Requests without a session, such as the leader's own, are always applied.
func TestRequestsWithoutSession(t *testing.T) {
	s := newSessions()
	for range 3 {
		if !s.begin(0, 0, 0, 1) {
			t.Error("it was not applied")
		}
	}
}
