package etcdserver

import (
	"sync"

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

// waiters are the requests that wait for their entry to be applied, by id.
// It is sharded so that many connections do not queue for one lock.
type waiters struct {
	shards [waiterShards]waiterShard
}

const waiterShards = 16

type waiterShard struct {
	// mu guards byID, for the length of one map operation.
	mu   sync.Mutex
	byID map[uint64]chan outcome
}

func newWaiters() *waiters {
	w := &waiters{}
	for i := range w.shards {
		w.shards[i].byID = map[uint64]chan outcome{}
	}
	return w
}

func (w *waiters) shard(id uint64) *waiterShard { return &w.shards[id%waiterShards] }

// register makes the channel that will get the outcome; it has room for it, so
// that nobody waits for a waiter that has left.
func (w *waiters) register(id uint64) chan outcome {
	done := make(chan outcome, 1)
	s := w.shard(id)
	s.mu.Lock()
	s.byID[id] = done
	s.mu.Unlock()
	return done
}

// take removes and returns the channel of id, or nil.
func (w *waiters) take(id uint64) chan outcome {
	s := w.shard(id)
	s.mu.Lock()
	done := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	return done
}
