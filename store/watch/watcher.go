package watch

import (
	"context"
	"strings"
	"sync"

	"canopy/store/tree"
)

// Watcher gets the events of one key, or of all keys at and below it, in order. It gets each of them once, and none is
// missing.
//
// It is live, behind or ended. A live watcher is in the hub, which appends to its queue. One that is behind is not, and
// reads from history what it has missed, until it can be live. A live watcher whose queue is full falls behind: so a writer
// never waits for it, and its memory is bounded however slow it is.
type Watcher struct {
	hub       *Hub
	key       string
	recursive bool
	stream    bool
	start     tree.Index

	// The hub's mu guards these.
	at  *watchNode // not nil: live, and at.watchers[pos] is this watcher
	pos int

	// mu guards the rest. It is the last lock that is taken, and nothing waits under it.
	mu       sync.Mutex
	since    tree.Index // events before are of no interest or in the queue; while live it changes under both locks
	behind   bool
	ended    error
	closed   bool     // not counted among the open
	queue    []*Event // queue[head:] were not delivered yet; 0 <= head <= len(queue)
	head     int
	bytes    int           // of the JSON of queue[head:]
	reserved int64         // of Limits.Memory, for bytes; bytes <= queueFreeBytes + reserved, except for the first event
	waiting  bool          // Next waits or Arm was called, and the watcher was not woken
	due      bool          // in the hub's due
	wake     chan struct{} // made by the first Next that has to wait
	call     func()        // of Arm, called instead of wake
}

// StartIndex is the store index when the watcher was registered (K32, K90).
func (w *Watcher) StartIndex() tree.Index { return w.start }

// Next returns the next event. It waits until there is one, the context ends (its error), or the watcher ends (an
// *EndedError, after all events in the queue). Events that are there already are returned even if the context has ended.
// One goroutine at a time may call it. A watcher without Stream is closed by its one event.
func (w *Watcher) Next(ctx context.Context) (*Event, error) {
	for {
		w.mu.Lock()
		switch {
		case w.head < len(w.queue):
			e := w.pop()
			w.mu.Unlock()
			if !w.stream {
				w.Close()
			}
			return e, nil
		case w.ended != nil:
			defer w.mu.Unlock()
			return nil, &EndedError{Next: w.since, Cause: w.ended}
		case w.behind:
			w.mu.Unlock()
			w.catchUp()
			continue
		}
		if w.wake == nil {
			w.wake = make(chan struct{}, 1) // room for the signal to a Next that stops waiting at the same time
		}
		w.waiting, w.call = true, nil
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-ctx.Done():
			w.mu.Lock()
			w.waiting = false
			w.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// Arm has wake called once when Next has an event to return or the watcher has ended: for an owner without a goroutine that
// waits. wake must not block, and must not use the watcher. False: that is so already, and wake is not called. The goroutine
// that calls Next may call it; a later Next undoes it.
func (w *Watcher) Arm(wake func()) bool {
	for {
		w.mu.Lock()
		switch {
		case w.head < len(w.queue) || w.ended != nil:
			w.mu.Unlock()
			return false
		case w.behind:
			w.mu.Unlock()
			w.catchUp()
			continue
		}
		w.waiting, w.call = true, wake
		w.mu.Unlock()
		return true
	}
}

// Close ends the watcher and frees it. Any goroutine may call it, and more than once.
func (w *Watcher) Close() {
	w.end(ErrClosed, 0) // first, so that a Next that is catching up does not make it live again
	w.hub.mu.Lock()
	w.hub.remove(w)
	w.hub.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.release()
		w.hub.open.Add(-1)
	}
}

// wants reports whether a watcher gets an event, live or from history (K97-K99, K105). It cannot know whether the watcher's
// own node went with a removed directory: the hub knows, and history does not (K106d).
func (w *Watcher) wants(e *Event) bool {
	switch {
	case e.index < w.since:
		return false
	case e.key == w.key:
		return true
	case e.flags&FlagDirRemoved != 0 && tree.IsBelow(w.key, e.key):
		return true
	}
	return w.recursive && tree.IsBelow(e.key, w.key) && !strings.Contains(e.key[len(w.key):], "/_")
}

// push appends e to the queue. It reports false if the watcher must leave the hub, because this was its one event, or
// because the queue is full and the watcher falls behind. The hub's mu is held.
func (w *Watcher) push(e *Event, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream && (w.full(most) || !w.reserve(e)) {
		w.since, w.behind = e.index, true
		w.becomeDue()
		return false
	}
	if len(w.queue) == cap(w.queue) && w.head > 0 {
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	w.enqueue(e)
	w.becomeDue()
	return w.stream
}

// becomeDue makes the hub wake a Next that waits. Both locks are held.
func (w *Watcher) becomeDue() {
	if w.waiting && !w.due {
		w.due = true
		w.hub.due = append(w.hub.due, w)
	}
}

// A queue reserves its memory in steps. The memory of the watch itself covers the first bytes.
const (
	queueFreeBytes = 16 << 10
	queueStepBytes = 64 << 10
)

// reserve reserves memory for one more event in the queue. If there is none, the watcher falls behind, and reads the event
// from history later.
func (w *Watcher) reserve(e *Event) bool {
	need := int64(w.bytes+len(e.json)) - queueFreeBytes - w.reserved
	budget := w.hub.limits.Memory
	if need <= 0 || budget == nil {
		return true
	}
	need = max(need, queueStepBytes)
	if !budget.Try(need) {
		return false
	}
	w.reserved += need
	return true
}

// release gives back the memory that was reserved.
func (w *Watcher) release() {
	if w.reserved > 0 {
		w.hub.limits.Memory.Give(w.reserved)
		w.reserved = 0
	}
}

// full reports whether the queue takes no more events. It is bounded in bytes, too, since it keeps events that the history
// may have dropped long ago. An empty queue is never full.
func (w *Watcher) full(most int) bool {
	const queueBytes = 1 << 20
	return len(w.queue)-w.head >= most || w.bytes >= queueBytes
}

// enqueue adds e, whose index is not less than since.
func (w *Watcher) enqueue(e *Event) {
	w.queue = append(w.queue, e)
	w.bytes += len(e.json)
	w.since = e.index + 1
}

// pop takes the first event off the queue. It frees a queue that is empty and has grown.
func (w *Watcher) pop() *Event {
	const kept = 16
	e := w.queue[w.head]
	w.bytes -= len(e.json)
	w.queue[w.head] = nil
	if w.head++; w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
		if cap(w.queue) > kept {
			w.queue = nil
		}
		w.release()
	}
	return e
}

// signal wakes a Next that waits, or calls what Arm was given. mu is held.
func (w *Watcher) signal() {
	if !w.waiting {
		return
	}
	w.waiting = false
	if call := w.call; call != nil {
		w.call = nil
		call()
		return
	}
	select {
	case w.wake <- struct{}{}:
	default: // an older signal is still there, and is enough
	}
}

// wakeDue wakes a watcher that the hub takes off its list.
func (w *Watcher) wakeDue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = false
	w.signal()
}

// end makes Next fail once the queue is empty. The watcher has got all events before next. next is 0 if the watcher may
// still be live, since then only the hub may change since.
func (w *Watcher) end(cause error, next tree.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = cause
		if next > w.since {
			w.since = next
		}
		w.signal()
	}
}

// catchUp reads from history until the queue is full, the one event is found, or the watcher has read all and is live. It
// reads only the last few events under the hub's lock.
func (w *Watcher) catchUp() {
	const fewEvents = 256
	for {
		h := w.hub.History()
		if h.newest+1 < w.since+fewEvents {
			w.hub.goLive(w)
			return
		}
		if w.read(&h) {
			return
		}
	}
}

// read reads h from since on. It reports true if the watcher has something to deliver, or has ended.
func (w *Watcher) read(h *History) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since < h.oldest {
		w.ended = ErrHistoryLost
	}
	if w.ended != nil {
		return true
	}
	c := h.From(w.since)
	for e := c.next(w.wants); e != nil; e = c.next(w.wants) {
		if w.head < len(w.queue) && !w.reserve(e) {
			return true
		}
		w.enqueue(e)
		if !w.stream || w.full(w.hub.limits.WatchQueue) {
			return true
		}
	}
	w.since = max(w.since, h.newest+1)
	return false
}
