package etcdserver

import (
	"slices"

	"canopy/raft"
)

// readQueues are the linearizable reads that wait for an index. Those that
// wait at the same time share one.
type readQueues struct {
	batch uint64                   // the last batch begun
	under map[uint64][]readRequest // batches under way
	next  []readRequest            // waiting for the next batch
	taken []readRequest            // scratch
}

// read begins a batch of all linearizable reads that are waiting.
func (l *raftLoop) read() {
	q := &l.reading
	q.taken = l.reads.take(q.taken)
	q.next = append(q.next, q.taken...)
	l.beginReads()
}

func (l *raftLoop) beginReads() {
	q := &l.reading
	if len(q.next) == 0 {
		return
	}
	if err := l.machine.ReadIndex(q.batch + 1); err != nil {
		if len(q.next) > heldMax {
			q.next = slices.DeleteFunc(q.next, readRequest.abandoned)
			q.next = q.next[:min(len(q.next), heldMax)]
		}
		return
	}
	q.batch++
	q.under[q.batch] = q.next
	q.next = nil
}

// answerReads tells readers their index; those whose batch was lost ask again.
func (l *raftLoop) answerReads(reads []raft.Read, lost []uint64) {
	q := &l.reading
	for _, r := range reads {
		for _, request := range q.under[r.Ctx] {
			request.index <- r.Index
		}
		delete(q.under, r.Ctx)
	}
	for _, ctx := range lost {
		q.next = append(q.next, q.under[ctx]...)
		delete(q.under, ctx)
	}
}
