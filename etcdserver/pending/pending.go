// Package pending holds the requests of this process that wait for their entry.
//
//	Register ──▶ List ──Finish, Sweep, Close──▶ Wait
//	              │ Requests: to propose them again
//
// A request in the list is proposed again whenever that may help: after a change of
// leaders, or when messages were lost. The replicated state leaves out what it has
// applied before (replica/sessions.go), so a repetition does no harm.
//
// The package also knows how a request is encoded while it is on its way into the
// log (proposal.go).
package pending

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver/outcome"
	"canopy/etcdserver/replica"
)

// Result is what a request gets.
type Result struct {
	Applied outcome.Applied
	Err     error
}

// Waiter is a request that waits for its entry to be applied. It gets exactly one
// result, from whoever removes it from the list; then it is used again.
type Waiter struct {
	began    time.Time
	proposal Proposal
	done     chan Result // has room for the one result
}

// List has all requests of this process that wait, by ID. Any goroutine may call its
// methods. It is sharded so that many connections do not queue for one lock. One
// goroutine calls Sweep for those that have waited too long, so that a request needs
// no timer of its own.
type List struct {
	session  uint64 // names this process in the log
	bytesMax int    // of the requests in one shard, if they are more than one
	turn     atomic.Uint64
	finished atomic.Uint64 // no request up to this id waits any more, or will
	shards   [shards]shard
	free     sync.Pool // of *Waiter
}

const shards = 16

// BytesMax is the most that a List can hold, in bytes of requests.
const BytesMax = shards * 32 << 20

type shard struct {
	// mu guards the fields below, for the length of one map operation or one sweep.
	mu     sync.Mutex
	byID   map[uint64]*Waiter
	next   uint64 // the next ID; next % shards is the number of the shard
	bytes  int    // of all proposals
	closed bool   // no result will come any more
}

// New makes a list for so many bytes of requests of a session.
func New(session uint64, bytesMax int) *List {
	l := &List{session: session, bytesMax: min(bytesMax, BytesMax) / shards}
	l.free.New = func() any { return &Waiter{done: make(chan Result, 1)} }
	for i := range l.shards {
		l.shards[i].byID = map[uint64]*Waiter{}
		l.shards[i].next = uint64(i + shards)
	}
	return l
}

// Session names this process in the log. Requests are told apart by it and their ID.
func (l *List) Session() uint64 { return l.session }

// Finished is an ID: no request up to it waits any more, or will.
func (l *List) Finished() uint64 { return l.finished.Load() }

func (l *List) shard(id uint64) *shard { return &l.shards[id%shards] }

// Register adds a request to the list and gives it its ID. Requests that make the state
// grow leave room for deletes, changes of members, and those of the member itself.
// Errors: ErrStopped, ErrTooBusy.
func (l *List) Register(p Proposal) (*Waiter, error) {
	r := l.free.Get().(*Waiter)
	r.began, r.proposal = time.Now(), p
	bytes, ids := l.bytesMax, uint64(replica.SessionSpan/2)
	if !p.Grows {
		bytes, ids = bytes+bytes/4, ids+ids/4
	}
	s := l.shard(l.turn.Add(1))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, outcome.ErrStopped
	}
	if s.bytes+len(p.Data) > bytes && len(s.byID) > 0 || s.next > l.finished.Load()+ids {
		return nil, outcome.ErrTooBusy
	}
	p.setID(s.next)
	s.byID[s.next] = r
	s.next += shards
	s.bytes += len(p.Data)
	return r, nil
}

// Wait gives the result, or the context's error if that ends first.
func (l *List) Wait(ctx context.Context, r *Waiter) (outcome.Applied, error) {
	var result Result
	if ctx.Done() == nil { // a plain receive costs half of a select
		result = <-r.done
	} else {
		select {
		case result = <-r.done:
		case <-ctx.Done():
			l.take(r.proposal.ID()) // if its result is on the way, r is not used again
			return outcome.Applied{}, ctx.Err()
		}
	}
	r.proposal = Proposal{}
	l.free.Put(r)
	return result.Applied, result.Err
}

// take removes a request from the list and returns it, or nil if it is not waiting.
func (l *List) take(id uint64) *Waiter {
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byID[id]
	if r != nil {
		s.remove(id, r)
	}
	return r
}

func (s *shard) remove(id uint64, r *Waiter) {
	delete(s.byID, id)
	s.bytes -= len(r.proposal.Data)
}

// Finish gives a request its result, if it still waits.
func (l *List) Finish(id uint64, result Result) {
	if r := l.take(id); r != nil {
		r.done <- result
	}
}

// Requests gives copies of all requests that wait, oldest first, or of those that
// are picked. They are copies, since the log may hold the first ones.
func (l *List) Requests(pick func(id uint64) bool) []Proposal {
	var all []Proposal
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, r := range s.byID {
			if pick == nil || pick(id) {
				all = append(all, r.proposal.Clone())
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Proposal) int { return cmp.Compare(a.ID(), b.ID()) })
	return all
}

// Sweep fails the requests that began before the limit, with the error that
// why gives, and counts those that go on waiting.
func (l *List) Sweep(limit time.Time, why func(began time.Time) error) (waiting int) {
	lowest := ^uint64(0)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, r := range s.byID {
			if r.began.Before(limit) {
				s.remove(id, r)
				r.done <- Result{Err: why(r.began)}
				continue
			}
			lowest = min(lowest, id)
		}
		lowest = min(lowest, s.next)
		waiting += len(s.byID)
		s.mu.Unlock()
	}
	l.finished.Store(lowest - 1)
	return waiting
}

// Close fails all requests, those to come included.
func (l *List) Close() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.closed = true
		for id, r := range s.byID {
			s.remove(id, r)
			r.done <- Result{Err: outcome.ErrStopped}
		}
		s.mu.Unlock()
	}
}
