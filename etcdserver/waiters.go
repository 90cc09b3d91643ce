package etcdserver

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver/replica"
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

// proposal is an encoded request on its way into the log: a Request that ends
// with its id, without its time, which the leader adds; or, if change is set, a
// Change that ends with its id.
type proposal struct {
	data   []byte
	change bool
	grows  bool // the state may grow: there is less room for it among the waiters
	from   ID   // the member that forwarded it; 0: this one
}

// The last field of what is encoded is added by hand: protobuf messages merge
// when they are concatenated, so that whoever made the rest need not know it.
const (
	idRoom     = 9 // of a fixed64 field with its tag
	idTag      = 2<<3 | 1
	changeTag  = 5<<3 | 1
	timeRoom   = 9
	timeTag    = 1<<3 | 1
	idDistance = 8 // of the id from the end
)

// reserveID adds an id that is to be set later.
func reserveID(data []byte, tag byte) []byte {
	return binary.LittleEndian.AppendUint64(append(data, tag), 0)
}

func (p proposal) setID(id uint64) {
	binary.LittleEndian.PutUint64(p.data[len(p.data)-idDistance:], id)
}

// id is that of a proposal made by reserveID.
func (p proposal) id() uint64 { return binary.LittleEndian.Uint64(p.data[len(p.data)-idDistance:]) }

func (p proposal) size() int { return len(p.data) }

// waiter is a request that waits for its entry to be applied. It gets exactly
// one outcome, from whoever takes it off the list; then it is used again.
type waiter struct {
	began    time.Time
	proposal proposal
	done     chan outcome // has room for the one outcome
}

// waiters are all requests of this process that wait, by id. What is in the
// list is proposed again whenever that may help: the log leaves out what it
// had before. The list is sharded so that many connections do not queue for
// one lock. One loop looks for those that have waited too long, so that a
// request needs no timer of its own.
type waiters struct {
	session  uint64 // names this process in the log
	bytesMax int    // of the requests in one shard, if they are more than one; set before use
	turn     atomic.Uint64
	finished atomic.Uint64 // no request up to this id waits any more, or will
	shards   [waiterShards]waiterShard
	free     sync.Pool // of *waiter
}

const waiterShards = 16

// sweepEvery is how exact time-outs are.
const sweepEvery = 100 * time.Millisecond

// shardBytesMax is the most that bytesMax can be.
const shardBytesMax = 32 << 20

type waiterShard struct {
	// mu guards the fields below, for the length of one map operation or one sweep.
	mu     sync.Mutex
	byID   map[uint64]*waiter
	next   uint64 // the next id, of those that leave the shard's number when divided by waiterShards
	bytes  int    // of all proposals
	closed bool   // no outcome will come any more
}

func newWaiters(session uint64) *waiters {
	w := &waiters{session: session, bytesMax: shardBytesMax}
	w.free.New = func() any { return &waiter{done: make(chan outcome, 1)} }
	for i := range w.shards {
		w.shards[i].byID = map[uint64]*waiter{}
		w.shards[i].next = uint64(i + waiterShards)
	}
	return w
}

func (w *waiters) shard(id uint64) *waiterShard { return &w.shards[id%waiterShards] }

// register lists a request and gives it its id. What makes the state grow leaves room for
// deletes, changes of members, and this member's own. Errors: ErrStopped, ErrTooBusy.
func (w *waiters) register(p proposal) (*waiter, error) {
	r := w.free.Get().(*waiter)
	r.began, r.proposal = time.Now(), p
	bytes, ids := w.bytesMax, uint64(replica.SessionSpan/2)
	if !p.grows {
		bytes, ids = bytes+bytes/4, ids+ids/4
	}
	s := w.shard(w.turn.Add(1))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrStopped
	}
	if s.bytes+len(p.data) > bytes && len(s.byID) > 0 || s.next > w.finished.Load()+ids {
		return nil, ErrTooBusy
	}
	p.setID(s.next)
	s.byID[s.next] = r
	s.next += waiterShards
	s.bytes += len(p.data)
	return r, nil
}

// wait gives the outcome, or the context's error if that ends first.
func (w *waiters) wait(ctx context.Context, r *waiter) (Applied, error) {
	var o outcome
	if ctx.Done() == nil { // a plain receive costs half of a select
		o = <-r.done
	} else {
		select {
		case o = <-r.done:
		case <-ctx.Done():
			w.take(r.proposal.id()) // if its outcome is on the way, r is left to the collector
			return Applied{}, ctx.Err()
		}
	}
	r.proposal = proposal{}
	w.free.Put(r)
	return o.applied, o.err
}

// take unlists a request and returns it, or nil if it is not waiting.
func (w *waiters) take(id uint64) *waiter {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byID[id]
	if r != nil {
		s.remove(id, r)
	}
	return r
}

func (s *waiterShard) remove(id uint64, r *waiter) {
	delete(s.byID, id)
	s.bytes -= len(r.proposal.data)
}

// finish gives a request its outcome, if it still waits.
func (w *waiters) finish(id uint64, o outcome) {
	if r := w.take(id); r != nil {
		r.done <- o
	}
}

// pending gives copies of all requests that wait, oldest first, or those that
// are picked. They are copies, since the log may hold the first ones.
func (w *waiters) pending(pick func(id uint64) bool) []proposal {
	var all []proposal
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for id, r := range s.byID {
			if pick == nil || pick(id) {
				p := r.proposal
				p.data = append(make([]byte, 0, len(p.data)+timeRoom), p.data...)
				all = append(all, p)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b proposal) int { return cmp.Compare(a.id(), b.id()) })
	return all
}

// sweep fails the requests that began before the limit, with the error that
// why gives, and counts those that go on waiting.
func (w *waiters) sweep(limit time.Time, why func(began time.Time) error) (waiting int) {
	lowest := ^uint64(0)
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for id, r := range s.byID {
			if r.began.Before(limit) {
				s.remove(id, r)
				r.done <- outcome{err: why(r.began)}
				continue
			}
			lowest = min(lowest, id)
		}
		lowest = min(lowest, s.next)
		waiting += len(s.byID)
		s.mu.Unlock()
	}
	w.finished.Store(lowest - 1)
	return waiting
}

// close fails all requests, those to come included.
func (w *waiters) close() {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		s.closed = true
		for id, r := range s.byID {
			s.remove(id, r)
			r.done <- outcome{err: ErrStopped}
		}
		s.mu.Unlock()
	}
}
