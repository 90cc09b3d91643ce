package store

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// The hub keeps live watchers in a tree of its own, by the components of their keys. An event walks down that tree
// along its key, as far as anybody watches, so it costs nothing for what nobody watches and nothing for other keys.
// The tree may offer a watcher too many events but never too few; watcher.wants decides.
type hub struct {
	options Options

	open atomic.Int64 // watchers not closed, live or reading from history

	// mu guards all below, and orders registration and publishing (K91). It is taken before any watcher's mu. Under it
	// nothing waits: delivering is appending to a watcher's bounded queue.
	mu      sync.Mutex
	root    place
	history history
	closed  error      // not nil: no more watchers
	due     []*Watcher // to be woken, since they wait and have got something to deliver
	woken   int        // how many of due have been
}

func (h *hub) start(o Options) {
	h.options = o
	h.history.oldest = 1
}

// publish makes v the view, enters the batch's events into the history, and hands them to those who watch. It is one
// step to whoever registers a watcher.
func (h *hub) publish(v *View, batch []event, current *atomic.Pointer[View]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due, h.woken = slices.Delete(h.due, 0, h.woken), 0
	for _, e := range batch {
		h.history.add(e.Event)
	}
	h.history.trim(h.options)
	h.history.newest = v.index
	v.history = h.history
	current.Store(v)
	for _, e := range batch {
		h.notify(e)
	}
	h.wake()
}

// replace makes v the view and its past the history, and gives the watchers what lies between the old and the new.
func (h *hub) replace(v *View, past history, current *atomic.Pointer[View]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due, h.woken = slices.Delete(h.due, 0, h.woken), 0
	from := h.history.newest + 1
	past.trim(h.options)
	h.history = past
	h.history.newest = v.index
	v.history = h.history
	current.Store(v)
	if from < h.history.oldest {
		h.each(func(w *Watcher) {
			if w.since < h.history.oldest {
				h.remove(w)
				w.end(ErrHistoryLost, from)
			}
		})
		from = h.history.oldest
	}
	for p := h.history.from(from); ; {
		e := p.next()
		if e == nil {
			break
		}
		h.notify(event{Event: e})
	}
	h.wake()
}

// wakesAtOnce is how many watchers are woken before others may run, or that part of those that are due, if it is more:
// while writes never cease, the last of very many are not to wait for thousands of turns.
const (
	wakesAtOnce = 16
	wakesPart   = 256
)

// wake wakes some of those that are due, and reports whether there are more. It is called with mu held.
func (h *hub) wake() (more bool) {
	rest := h.due[h.woken:]
	if len(rest) == 0 {
		return false
	}
	some := rest[:min(len(rest), max(wakesAtOnce, len(rest)/wakesPart))]
	for _, w := range some {
		w.wakeUp()
	}
	if h.woken += len(some); h.woken < len(h.due) {
		return true
	}
	h.due, h.woken = reusable(h.due), 0
	return false
}

// past returns the history as of now.
func (h *hub) past() history {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history
}

// notify hands one event to all live watchers that want it.
func (h *hub) notify(e event) {
	at := &h.root
	h.offer(at, e.Event)
	for rest := e.key; rest != ""; {
		var name string
		name, rest = cutName(rest)
		if at = at.kid(name); at == nil {
			return
		}
		h.offer(at, e.Event)
	}
	if e.flags&flagDirRemoved != 0 {
		h.notifyRemoved(at, e)
	}
}

// offer gives e to those of a place's watchers that want it. Who is full, or served with one event, leaves the hub.
func (h *hub) offer(at *place, e *Event) {
	for i := 0; i < len(at.watchers); {
		w := at.watchers[i]
		if w.wants(e) && !w.push(e, h.options.WatchQueue) {
			h.remove(w) // moves another to place i
			continue
		}
		i++
	}
}

// notifyRemoved gives e, the removal of a directory, to the watchers below it whose own path was a node that went with
// it (K99). It walks the watched and the removed tree in step, always along the smaller one. After a snapshot the
// removed tree is unknown, and all below are served, as history does (K106d).
func (h *hub) notifyRemoved(at *place, e event) {
	type pair struct {
		at *place
		d  *directory
	}
	for open := []pair{{at, e.removed}}; len(open) > 0; {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		gone := func(kid *place, n *node) {
			h.offer(kid, e.Event)
			if n == nil {
				open = append(open, pair{at: kid})
			} else if n.dir != nil {
				open = append(open, pair{kid, n.dir})
			}
		}
		switch {
		case e.removed == nil:
			for kid := range top.at.all() {
				gone(kid, nil)
			}
		case top.at.count() <= top.d.count:
			for kid := range top.at.all() {
				if n := top.d.get(kid.name); n != nil {
					gone(kid, n)
				}
			}
		default:
			var c cursor
			c.start(top.d)
			for n := c.next(); n != nil; n = c.next() {
				if kid := top.at.kid(n.name); kid != nil {
					gone(kid, n)
				}
			}
		}
	}
}

// register makes w live from its index since on, or from now when that is 0 or past. It reports false when the history
// holds events from there on that w has to read first.
func (h *hub) register(w *Watcher) bool {
	if w.since == 0 {
		w.since = h.history.newest + 1
	}
	if w.since <= h.history.newest {
		return false
	}
	h.add(w)
	return true
}

// goLive lets a watcher that was behind read the rest of the history and, unless that has given it something to deliver,
// enters it among the live ones.
func (h *hub) goLive(w *Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		w.end(h.closed, 0)
		return
	}
	if w.read(&h.history) {
		return
	}
	assert(h.register(w), "a watcher that has read all history is in the present")
	w.mu.Lock()
	w.behind = false
	w.mu.Unlock()
}

// add enters w at its place.
func (h *hub) add(w *Watcher) {
	at := &h.root
	for rest := w.key; rest != ""; {
		var name string
		name, rest = cutName(rest)
		at = at.makeKid(name)
	}
	w.at, w.nth = at, len(at.watchers)
	at.watchers = append(at.watchers, w)
}

// remove takes w out, if it is in, and with it the places that nobody else watches.
func (h *hub) remove(w *Watcher) {
	at := w.at
	if at == nil {
		return
	}
	last := len(at.watchers) - 1
	at.watchers[w.nth] = at.watchers[last]
	at.watchers[w.nth].nth = w.nth
	at.watchers[last] = nil
	at.watchers = at.watchers[:last]
	w.at = nil
	at.prune()
}

// each calls fn for every live watcher; fn may remove it.
func (h *hub) each(fn func(*Watcher)) {
	var all []*Watcher
	for open := []*place{&h.root}; len(open) > 0; {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		all = append(all, at.watchers...)
		for kid := range at.all() {
			open = append(open, kid)
		}
	}
	for _, w := range all {
		fn(w)
	}
}

// cleared is the answer to a watch from an index that the history no longer reaches (K95, E26).
func (h *hub) cleared(since Index) *Error {
	cause := fmt.Sprintf("the requested history has been cleared [%d/%d]", h.history.oldest, since)
	return &Error{Code: CodeHistoryCleared, Cause: cause, Index: h.history.newest}
}
