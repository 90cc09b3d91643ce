package replica

import (
	"maps"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/store"
)

// A request may come to the log twice: it was proposed to a leader that died,
// and then to the next one, and the first survived after all. So that it is not
// applied twice, each process numbers its requests, and the replicated state
// remembers which of them were applied (dissertation 6.3). With each request
// the process tells which ones it will never send again, so that what has to
// be remembered is no more than what is in flight.

// SessionSpan bounds how far apart the ids in flight of one session may be.
const SessionSpan = 1 << 21

// sessionIdle is how long, in time that somebody led, a session without requests
// is remembered: far longer than a request of a process that is gone can still
// be on its way.
const sessionIdle = store.Duration(10 * time.Minute)

// sessions is the part of the replicated state that knows which requests were applied.
type sessions struct {
	byID map[uint64]*session
	id   uint64   // the session asked for last,
	last *session // for the next request
}

// session is what is known of one process's requests.
type session struct {
	finished uint64   // all up to here will never come again
	base     uint64   // a multiple of 64, at most finished
	applied  []uint64 // bit i: request base+i was applied
	lastTime store.Time
}

func newSessions() *sessions { return &sessions{byID: map[uint64]*session{}} }

// begin tells whether a request is to be applied: it was not before. From then
// on it was.
func (s *sessions) begin(sessionID, id, finished uint64, now store.Time) bool {
	if sessionID == 0 || id == 0 {
		return true
	}
	each := s.last
	if each == nil || s.id != sessionID {
		each = s.find(sessionID, finished, now)
		s.id, s.last = sessionID, each
	}
	each.lastTime = max(each.lastTime, now)
	each.finish(finished)
	return each.mark(id)
}

// find gives a session, which is made if need be; then old ones are forgotten.
func (s *sessions) find(id, finished uint64, now store.Time) *session {
	if found, ok := s.byID[id]; ok {
		return found
	}
	maps.DeleteFunc(s.byID, func(_ uint64, old *session) bool {
		return old.lastTime < now-store.Time(sessionIdle)
	})
	made := &session{finished: finished, base: finished &^ 63}
	s.byID[id] = made
	return made
}

// has tells whether a request was applied.
func (s *sessions) has(sessionID, id uint64) bool {
	each, ok := s.byID[sessionID]
	if !ok {
		return false
	}
	if id <= each.finished {
		return true
	}
	at := id - each.base
	return at/64 < uint64(len(each.applied)) && each.applied[at/64]&(1<<(at%64)) != 0
}

// finish moves the window on.
func (s *session) finish(upTo uint64) {
	if upTo <= s.finished {
		return
	}
	s.finished = upTo
	words := (upTo - s.base) / 64
	if words == 0 {
		return
	}
	s.base += words * 64
	if words >= uint64(len(s.applied)) {
		s.applied = s.applied[:0]
		return
	}
	s.applied = append(s.applied[:0], s.applied[words:]...)
}

// mark notes that a request is applied; false means that it was, or that its
// process has finished with it, or never had so many in flight.
func (s *session) mark(id uint64) bool {
	if id <= s.finished || id-s.base >= SessionSpan {
		return false
	}
	word, bit := (id-s.base)/64, uint64(1)<<((id-s.base)%64)
	for word >= uint64(len(s.applied)) {
		s.applied = append(s.applied, 0)
	}
	if s.applied[word]&bit != 0 {
		return false
	}
	s.applied[word] |= bit
	return true
}

func (s *sessions) toProto() []*pb.Session {
	var all []*pb.Session
	for _, id := range slices.Sorted(maps.Keys(s.byID)) {
		each := s.byID[id]
		all = append(all, &pb.Session{
			Id: id, Finished: each.finished, Applied: slices.Clone(each.applied), LastTime: uint64(each.lastTime),
		})
	}
	return all
}

func sessionsFromProto(all []*pb.Session) *sessions {
	s := newSessions()
	for _, p := range all {
		s.byID[p.Id] = &session{
			finished: p.Finished, base: p.Finished &^ 63,
			applied: p.Applied[:min(len(p.Applied), SessionSpan/64)], lastTime: store.Time(p.LastTime),
		}
	}
	return s
}
