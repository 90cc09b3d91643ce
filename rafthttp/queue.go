package rafthttp

import (
	"sync"

	"canopy/raft"
)

// item is a message, or a note, that waits to be sent.
type item struct {
	message raft.Message // nil: a note
	note    []byte
	size    int64 // about what it holds of memory, in bytes
}

// itemOverhead is about what an item takes besides data; so is entryOverhead for an entry.
const (
	itemOverhead  = 128
	entryOverhead = 64
)

func appendSize(m raft.Append) int64 {
	size := int64(itemOverhead)
	for i := range m.Entries {
		size += entryOverhead + int64(len(m.Entries[i].Data))
	}
	return size
}

// queue hands items from many goroutines to the one that writes them. It is closed while there is no stream.
type queue struct {
	wake     chan struct{} // has room for one: the taker looks for itself
	itemsMax int
	bytesMax int64

	// mu guards what is below, for a few lines.
	mu    sync.Mutex
	open  bool
	items []item // not taken yet
	count int    // of items that are not written yet, taken or not
	bytes int64  // of those
	lossy bool   // something was dropped since lost was said
}

func newQueue(itemsMax int, bytesMax int64) *queue {
	return &queue{wake: make(chan struct{}, 1), itemsMax: itemsMax, bytesMax: bytesMax}
}

// put adds an item; false means that it was dropped. first says that it is the first one since the loss was last told of.
func (q *queue) put(i item) (taken, first bool) {
	q.mu.Lock()
	if !q.open || q.count >= q.itemsMax || q.bytes+i.size > q.bytesMax {
		first = !q.lossy
		q.lossy = true
		q.mu.Unlock()
		return false, first
	}
	q.items = append(q.items, i)
	q.count++
	q.bytes += i.size
	wake := len(q.items) == 1
	q.mu.Unlock()
	if wake {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return true, false
}

// take gives all items, in order, and leaves the memory of spare for the next ones. They count until they are written.
func (q *queue) take(spare []item) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = spare[:0]
	return items
}

// written takes items off the count. It says whether there is room again after a loss that was told of.
func (q *queue) written(items int, bytes int64) (recovered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count -= items
	q.bytes -= bytes
	if !q.lossy || q.count > q.itemsMax/2 || q.bytes > q.bytesMax/2 {
		return false
	}
	q.lossy = false
	return true
}

// begin opens the queue. It says whether something was lost while it was closed.
func (q *queue) begin() (recovered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = true
	recovered, q.lossy = q.lossy, false
	return recovered
}

// end closes the queue, and drops what is in it. That, and what was on its way, counts as a loss that was told of.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open, q.items, q.count, q.bytes, q.lossy = false, nil, 0, 0, true
}

// length is how much waits.
func (q *queue) length() (items int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count, q.bytes
}
