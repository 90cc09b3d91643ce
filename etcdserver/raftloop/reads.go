package raftloop

import (
	"slices"

	"canopy/raft"
)

// readRequest asks for an index that is safe to read at.
type readRequest struct {
	index chan raft.Index // has room for the one answer
	gone  <-chan struct{} // closed when nobody waits for it any more
}

func (r readRequest) abandoned() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

// reads are the linearizable reads that wait for an index. Those that wait at the same
// time share one.
type reads struct {
	machine *raft.Machine
	batch   uint64                   // the last batch that was begun
	under   map[uint64][]readRequest // batches that have no index yet
	next    []readRequest            // waiting for the next batch
	taken   []readRequest            // scratch
}

// begin begins a batch of all linearizable reads that are waiting.
func (r *reads) begin() {
	if len(r.next) == 0 {
		return
	}
	if err := r.machine.ReadIndex(r.batch + 1); err != nil {
		if len(r.next) > HeldMax {
			r.next = slices.DeleteFunc(r.next, readRequest.abandoned)
			r.next = r.next[:min(len(r.next), HeldMax)]
		}
		return
	}
	r.batch++
	r.under[r.batch] = r.next
	r.next = nil
}

// answer gives readers their index; those whose batch was lost ask again.
func (r *reads) answer(done []raft.Read, lost []uint64) {
	for _, read := range done {
		for _, request := range r.under[read.Ctx] {
			request.index <- read.Index
		}
		delete(r.under, read.Ctx)
	}
	for _, ctx := range lost {
		r.next = append(r.next, r.under[ctx]...)
		delete(r.under, ctx)
	}
}
