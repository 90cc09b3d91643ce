package rafthttp

import (
	"sync"

	"canopy/raft"
)

// item is a message or an envelope that waits to be sent.
type item struct {
	message  raft.Message // nil: an envelope
	envelope []byte
	size     int64 // bytes of memory that it holds, about
}

// itemOverhead is the memory of an item besides its data, about; entryOverhead is that of an entry.
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

// queue passes items from many goroutines to the one that writes them. It is closed while there is no stream.
type queue struct {
	wake     chan struct{} // holds one signal
	itemsMax int
	bytesMax int64

	// mu guards what is below, for a few lines.
	mu    sync.Mutex
	open  bool
	items []item // not taken yet; len(items) <= count
	count int    // of items that are not written yet, taken or not; 0 <= count <= itemsMax
	bytes int64  // of those; 0 <= bytes <= bytesMax
	lossy bool   // an item was dropped since lost was called
}

func newQueue(itemsMax int, bytesMax int64) *queue {
	return &queue{wake: make(chan struct{}, 1), itemsMax: itemsMax, bytesMax: bytesMax}
}

// put adds an item; false: it was dropped. first tells that it is the first one since the last report of a loss.
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

// take gives all items, in order, and uses the memory of spare for the next ones. Items count until they are written.
func (q *queue) take(spare []item) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = spare[:0]
	return items
}

// written removes items from the count. It tells whether there is room again after a reported loss.
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

// begin opens the queue. It tells whether an item was lost while it was closed.
func (q *queue) begin() (recovered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = true
	recovered, q.lossy = q.lossy, false
	return recovered
}

// end closes the queue, and drops its items. They, and those that were being written, count as a reported loss.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open, q.items, q.count, q.bytes, q.lossy = false, nil, 0, 0, true
}

// length is the number of items that are not written.
func (q *queue) length() (items int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count, q.bytes
}
