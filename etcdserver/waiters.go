package etcdserver

import (
	"context"
	"sync"
	"time"

	"canopy/store"
)

// Applied is what became of a request: its event and the raft position of the
// entry that carried it.
type Applied struct {
	Event     *store.Event
	RaftIndex uint64
	RaftTerm  uint64
}

type outcome struct {
	applied Applied
	err     error
}

// waiter is a request that waits for its entry to be applied. It gets exactly
// one outcome, from whoever takes it off the list; then it is used again.
type waiter struct {
	began time.Time
	done  chan outcome // has room for the one outcome
}

// waiters are all requests that wait, by id. The list is sharded so that many
// connections do not queue for one lock. One loop looks for those that have
// waited too long, so that a request needs no timer of its own.
type waiters struct {
	shards [waiterShards]waiterShard
	free   sync.Pool // of *waiter
}

const waiterShards = 16

// sweepEvery is how exact time-outs are.
const sweepEvery = 100 * time.Millisecond

type waiterShard struct {
	// mu guards the fields below, for the length of one map operation or one sweep.
	mu     sync.Mutex
	byID   map[uint64]*waiter
	closed bool // no outcome will come any more
}

func newWaiters() *waiters {
	w := &waiters{}
	w.free.New = func() any { return &waiter{done: make(chan outcome, 1)} }
	for i := range w.shards {
		w.shards[i].byID = map[uint64]*waiter{}
	}
	return w
}

func (w *waiters) shard(id uint64) *waiterShard { return &w.shards[id%waiterShards] }

// register lists a request; false means that the member has stopped.
func (w *waiters) register(id uint64) (*waiter, bool) {
	r := w.free.Get().(*waiter)
	r.began = time.Now()
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.byID[id] = r
	return r, true
}

// wait gives the outcome, or the context's error if that ends first.
func (w *waiters) wait(ctx context.Context, id uint64, r *waiter) (Applied, error) {
	var o outcome
	if ctx.Done() == nil { // a plain receive costs half of a select
		o = <-r.done
	} else {
		select {
		case o = <-r.done:
		case <-ctx.Done():
			w.take(id) // if its outcome is on the way, r is left to the collector
			return Applied{}, ctx.Err()
		}
	}
	w.free.Put(r)
	return o.applied, o.err
}

// take unlists a request and returns it, or nil if it is not waiting.
func (w *waiters) take(id uint64) *waiter {
	s := w.shard(id)
	s.mu.Lock()
	r := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	return r
}

// finish gives a request its outcome, if it still waits.
func (w *waiters) finish(id uint64, o outcome) {
	if r := w.take(id); r != nil {
		r.done <- o
	}
}

// sweep fails the requests that began before the limit, with the error that
// why gives, and counts those that go on waiting.
func (w *waiters) sweep(limit time.Time, why func(began time.Time) error) (waiting int) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for id, r := range s.byID {
			if r.began.Before(limit) {
				delete(s.byID, id)
				r.done <- outcome{err: why(r.began)}
			}
		}
		waiting += len(s.byID)
		s.mu.Unlock()
	}
	return waiting
}

// close fails all requests, those to come included.
func (w *waiters) close() {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.closed = true
		for id, r := range s.byID {
			delete(s.byID, id)
			r.done <- outcome{err: ErrStopped}
		}
		s.mu.Unlock()
	}
}
