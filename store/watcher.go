package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// WatchOptions say which events a watcher gets.
type WatchOptions struct {
	Recursive bool  // also those below its key (K98)
	Stream    bool  // all of them; otherwise only the first
	Since     Index // those with this index or a later one, from history if they are past (K93); 0: from now on
}

// ErrHistoryLost is why a watcher ends that fell so far behind that the history no longer holds its next event.
var ErrHistoryLost = errors.New("the history no longer reaches back to the next event")

// ErrWatcherClosed is why Next fails on a watcher that was closed, or has given its one event.
var ErrWatcherClosed = errors.New("the watcher is closed")

// ErrWatchEnded is the error of Next once a watcher has ended. Nothing is lost or doubled when the client watches
// again from Next, if the history still reaches there.
type ErrWatchEnded struct {
	Next  Index // the index from which on the watcher has missed events
	Cause error // ErrHistoryLost, ErrWatcherClosed, or the reason given to CloseWatchers
}

// Error says why, and where to go on.
func (e *ErrWatchEnded) Error() string {
	return fmt.Sprintf("store: watch ended before index %d: %v", e.Next, e.Cause)
}

// Unwrap gives the cause.
func (e *ErrWatchEnded) Unwrap() error { return e.Cause }

// Watcher gets the events of one key, or of all at and below it, in order, each once, none left out.
//
// It is either live, that is in the hub, which appends to its queue; or behind, and reads from history what it has
// missed before it becomes live; or ended. A live watcher whose queue is full falls behind, so that a writer never
// waits for it, and memory stays bounded however slow it is.
type Watcher struct {
	hub       *hub
	key       string
	recursive bool
	stream    bool
	start     Index

	// The hub's, under its mu.
	at  *place // nil: not in the hub
	nth int    // its place among at.watchers

	// mu guards the rest. It is the last lock taken, and nothing waits under it.
	mu      sync.Mutex
	since   Index // events before are of no interest or in the queue; under both locks while live
	behind  bool
	ended   error
	closed  bool     // no longer counted among the open
	queue   []*Event // undelivered, from head on
	head    int
	bytes   int           // of their JSON
	taken   int64         // for them, of Options.Memory
	waiting bool          // Next waits, and has not been woken
	due     bool          // on the list of those to be woken
	wake    chan struct{} // made by the first Next that has to wait
}

// Watch registers a watcher; the key need not exist (K91). A Since that the history no longer reaches is an *Error
// with CodeHistoryCleared; after CloseWatchers the error is an *ErrWatchEnded. The caller must Close the watcher.
func (s *Store) Watch(k Key, o WatchOptions) (*Watcher, error) {
	h := &s.hub
	w := &Watcher{hub: h, key: k.clean, recursive: o.Recursive, stream: o.Stream, since: o.Since}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return nil, &ErrWatchEnded{Next: max(o.Since, h.history.newest+1), Cause: h.closed}
	}
	if o.Since != 0 && o.Since < h.history.oldest {
		return nil, h.cleared(o.Since)
	}
	w.start = h.history.newest
	w.behind = !h.register(w)
	h.open.Add(1)
	return w, nil
}

// StartIndex is the store index when the watcher was registered (K32, K90).
func (w *Watcher) StartIndex() Index { return w.start }

// Next returns the next event. It waits until there is one, the context ends (its error), or the watcher does (an
// *ErrWatchEnded, after all that was queued); events that are there already are returned even if the context has
// ended. It is for one goroutine at a time. A watcher without Stream is closed by its one event.
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
			return nil, &ErrWatchEnded{Next: w.since, Cause: w.ended}
		case w.behind:
			w.mu.Unlock()
			w.catchUp()
			continue
		}
		if w.wake == nil {
			w.wake = make(chan struct{}, 1) // room for one: the wake-up of a Next that stops waiting just then
		}
		w.waiting = true
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

// Close ends the watcher and frees it; it may be called more than once and from any goroutine.
func (w *Watcher) Close() {
	w.end(ErrWatcherClosed, 0) // first, so that a Next that is catching up does not make it live again
	w.hub.mu.Lock()
	w.hub.remove(w)
	w.hub.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.giveBack()
		w.hub.open.Add(-1)
	}
}

// CloseWatchers ends all watchers, each after what is in its queue, and refuses new ones.
func (s *Store) CloseWatchers(reason error) {
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = reason
	h.each(func(w *Watcher) {
		h.remove(w)
		w.end(reason, h.history.newest+1)
	})
}

// Watchers is the number of watchers open on this member.
func (s *Store) Watchers() int { return int(s.hub.open.Load()) }

// HistoryRange returns the lowest index a watch can begin at, and the store index. Every event from oldest on is held,
// refreshes and internal mutations excepted, which have none.
func (s *Store) HistoryRange() (oldest, newest Index) {
	h := s.hub.past()
	return h.oldest, h.newest
}

// wants is the one rule of which events concern a watcher, for live ones and those that read history (K97-K99, K105).
// What the rule cannot tell from the event is whether a watcher's path below a removed directory existed; the hub can,
// history cannot (K106d).
func (w *Watcher) wants(e *Event) bool {
	switch {
	case e.index < w.since:
		return false
	case e.key == w.key:
		return true
	case e.flags&flagDirRemoved != 0 && isBelow(w.key, e.key):
		return true
	}
	return w.recursive && isBelow(e.key, w.key) && !strings.Contains(e.key[len(w.key):], "/_")
}

// push, called under the hub's mu, appends e to the queue. It reports false when the watcher has to leave the hub:
// because this was the event it waited for, or because the queue is full and it falls behind.
func (w *Watcher) push(e *Event, most int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream && (w.full(most) || !w.afford(e)) {
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

// becomeDue has a Next that waits woken. It is called under the hub's mu.
func (w *Watcher) becomeDue() {
	if w.waiting && !w.due {
		w.due = true
		w.hub.due = append(w.hub.due, w)
	}
}

// A queue takes its memory in steps. The first bytes are covered by what a watch takes anyway.
const (
	queueFreeBytes = 16 << 10
	queueStepBytes = 64 << 10
)

// afford takes memory for one more event in the queue. Where there is none, the watcher need not have the event: it can
// read it from history when its turn has come.
func (w *Watcher) afford(e *Event) bool {
	need := int64(w.bytes+len(e.json)) - queueFreeBytes - w.taken
	budget := w.hub.options.Memory
	if need <= 0 || budget == nil {
		return true
	}
	need = max(need, queueStepBytes)
	if !budget.Try(need) {
		return false
	}
	w.taken += need
	return true
}

// giveBack ends what afford has taken.
func (w *Watcher) giveBack() {
	if w.taken > 0 {
		w.hub.options.Memory.Give(w.taken)
		w.taken = 0
	}
}

// full reports whether no event may be added to the queue. A queue holds on to events that the history may long have
// forgotten, so it is bounded by bytes, too; one event always fits.
func (w *Watcher) full(most int) bool {
	const queueBytes = 1 << 20
	return len(w.queue)-w.head >= most || w.bytes >= queueBytes
}

// enqueue adds e, which is not before since.
func (w *Watcher) enqueue(e *Event) {
	w.queue = append(w.queue, e)
	w.bytes += len(e.json)
	w.since = e.index + 1
}

// pop takes the first event off the queue. A queue that has grown is given back once it is empty.
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
		w.giveBack()
	}
	return e
}

// rouse wakes a Next that waits. It is called with mu held.
func (w *Watcher) rouse() {
	if w.waiting {
		w.waiting = false
		select {
		case w.wake <- struct{}{}:
		default: // an older wake-up is still there, and does as well
		}
	}
}

// wakeUp is for those on the list.
func (w *Watcher) wakeUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = false
	w.rouse()
}

// end makes Next fail once the queue is empty. The watcher has seen to all events before next, which is 0 when it may
// be live still: since is not to be written then.
func (w *Watcher) end(cause error, next Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = cause
		if next > w.since {
			w.since = next
		}
		w.rouse()
	}
}

// catchUp reads from history what the watcher wants next: until its queue is full, its one event is found, or it has
// reached the present and is live. Only the last few events are looked at under the hub's lock.
func (w *Watcher) catchUp() {
	const fewEvents = 256
	for {
		h := w.hub.past()
		if h.newest+1 < w.since+fewEvents {
			w.hub.goLive(w)
			return
		}
		if w.read(&h) {
			return
		}
	}
}

// read moves through h from since on. It reports true when the watcher need not go on: it has something to deliver, or
// has ended.
func (w *Watcher) read(h *history) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since < h.oldest {
		w.ended = ErrHistoryLost
	}
	if w.ended != nil {
		return true
	}
	p := h.from(w.since)
	for e := p.next(); e != nil; e = p.next() {
		if !w.wants(e) {
			continue
		}
		if w.head < len(w.queue) && !w.afford(e) {
			return true
		}
		w.enqueue(e)
		if !w.stream || w.full(w.hub.options.WatchQueue) {
			return true
		}
	}
	w.since = max(w.since, h.newest+1)
	return false
}
