package watch

import (
	"slices"
	"sync"
	"sync/atomic"

	"canopy/store/tree"
)

// Hub registers watchers, and has the history. It keeps live watchers in a tree of their own, by the components of their
// keys. An event goes down this tree along its key, as far as there are watchers, so keys that nobody watches cost nothing.
// The tree may offer a watcher too many events but never too few; Watcher.wants decides.
type Hub struct {
	limits Limits

	open atomic.Int64 // watchers that are not closed, live or behind

	// mu guards all below, and orders registration and publishing (K91). It is taken before any watcher's mu. Nothing waits
	// under it: to deliver an event is to append it to a watcher's bounded queue.
	mu      sync.Mutex
	root    watchNode
	history History
	closed  error      // not nil: no more watchers
	due     []*Watcher // they wait, and there is something for them; each is in it once
	woken   int        // due[:woken] were woken; 0 <= woken <= len(due)
}

// NewHub returns a hub whose history is empty and begins at index 1.
func NewHub(l Limits) *Hub {
	return &Hub{limits: l.withDefaults(), history: History{oldest: 1}}
}

// Watch registers a watcher of a clean path, where no node needs to be (K91). If the history no longer reaches back to
// o.Since, the error is a *ClearedError; after Close it is an *EndedError. The caller must Close the watcher.
func (h *Hub) Watch(key string, o Options) (*Watcher, error) {
	w := &Watcher{hub: h, key: key, recursive: o.Recursive, stream: o.Stream, since: o.Since}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		return nil, &EndedError{Next: max(o.Since, h.history.newest+1), Cause: h.closed}
	}
	if o.Since != 0 && o.Since < h.history.oldest {
		return nil, &ClearedError{Since: o.Since, Oldest: h.history.oldest, Newest: h.history.newest}
	}
	w.start = h.history.newest
	w.behind = !h.register(w)
	h.open.Add(1)
	return w, nil
}

// Close ends all watchers, each after the events in its queue, and refuses new ones.
func (h *Hub) Close(reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = reason
	for _, w := range h.live() {
		h.remove(w)
		w.end(reason, h.history.newest+1)
	}
}

// Watchers is the number of watchers that are not closed.
func (h *Hub) Watchers() int { return int(h.open.Load()) }

// History returns the history as it is now.
func (h *Hub) History() History {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history
}

// publish adds the batch to the history, calls show with it, and gives the events to live watchers. No watcher is registered
// in between.
func (h *Hub) publish(index tree.Index, batch []pending, show func(History)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropWoken()
	for i := range batch {
		h.history.add(batch[i].event, &batch[i].change)
	}
	h.history.trim(h.limits)
	h.history.newest = index
	show(h.history)
	for i := range batch {
		h.notify(&batch[i])
	}
	h.wake()
}

// replace makes past the history, calls show with it, and gives live watchers the events that the old history did not have.
func (h *Hub) replace(index tree.Index, past History, show func(History)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropWoken()
	from := h.history.newest + 1
	past.trim(h.limits)
	h.history = past
	h.history.newest = index
	show(h.history)
	if from < h.history.oldest {
		for _, w := range h.live() {
			if w.since < h.history.oldest {
				h.remove(w)
				w.end(ErrHistoryLost, from)
			}
		}
		from = h.history.oldest
	}
	c := h.history.From(from)
	for e := c.Next(); e != nil; e = c.Next() {
		h.notify(&pending{event: e})
	}
	h.wake()
}

// One call of wake wakes wakesAtOnce watchers, or a wakesPart-th of those that are due, if it is more: while writes never
// cease, the last of very many watchers must not wait for thousands of calls.
const (
	wakesAtOnce = 16
	wakesPart   = 256
)

// wake wakes some of the watchers that are due, and reports whether there are more. mu is held.
func (h *Hub) wake() (more bool) {
	rest := h.due[h.woken:]
	if len(rest) == 0 {
		return false
	}
	some := rest[:min(len(rest), max(wakesAtOnce, len(rest)/wakesPart))]
	for _, w := range some {
		w.wakeDue()
	}
	if h.woken += len(some); h.woken < len(h.due) {
		return true
	}
	h.due, h.woken = reusable(h.due), 0
	return false
}

// dropWoken removes from due the watchers that were woken.
func (h *Hub) dropWoken() { h.due, h.woken = slices.Delete(h.due, 0, h.woken), 0 }

// notify gives one event to all live watchers that want it.
func (h *Hub) notify(p *pending) {
	at := &h.root
	h.offer(at, p.event)
	for rest := p.event.key; rest != ""; {
		var name string
		name, rest = tree.CutName(rest)
		if at = at.child(name); at == nil {
			return
		}
		h.offer(at, p.event)
	}
	if p.event.flags&FlagDirRemoved != 0 {
		h.notifyRemoved(at, p)
	}
}

// offer gives e to those watchers at one watch node that want it. A watcher that is full, or that has got its one event,
// leaves the hub.
func (h *Hub) offer(at *watchNode, e *Event) {
	for i := 0; i < len(at.watchers); {
		w := at.watchers[i]
		if w.wants(e) && !w.push(e, h.limits.WatchQueue) {
			h.remove(w) // puts another watcher at i
			continue
		}
		i++
	}
}

// notifyRemoved gives p, the removal of a directory, to the watchers below it whose own node went with it (K99). It walks
// the watch nodes and the removed tree side by side, and goes through the children of the one that has fewer. The removed
// tree is unknown after a snapshot: then all watchers below get the event, as they do from history (K106d).
func (h *Hub) notifyRemoved(at *watchNode, p *pending) {
	type pair struct {
		at *watchNode
		d  *tree.Dir
	}
	for open := []pair{{at, p.removed}}; len(open) > 0; {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		gone := func(child *watchNode, n *tree.Node) {
			h.offer(child, p.event)
			if n == nil {
				open = append(open, pair{at: child})
			} else if n.Dir() != nil {
				open = append(open, pair{child, n.Dir()})
			}
		}
		switch {
		case p.removed == nil:
			for child := range top.at.all() {
				gone(child, nil)
			}
		case top.at.count() <= top.d.Len():
			for child := range top.at.all() {
				if n := top.d.Get(child.name); n != nil {
					gone(child, n)
				}
			}
		default:
			var c tree.Cursor
			c.Start(top.d)
			for n := c.Next(); n != nil; n = c.Next() {
				if child := top.at.child(n.Name()); child != nil {
					gone(child, n)
				}
			}
		}
	}
}

// register makes w live, from now on if w.since is 0. It reports false if the history has events from w.since on, which w
// must read first.
func (h *Hub) register(w *Watcher) bool {
	if w.since == 0 {
		w.since = h.history.newest + 1
	}
	if w.since <= h.history.newest {
		return false
	}
	h.add(w)
	return true
}

// goLive lets a watcher that is behind read the rest of the history. If it finds nothing to deliver there, it becomes live.
func (h *Hub) goLive(w *Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed != nil {
		w.end(h.closed, 0)
		return
	}
	if w.read(&h.history) {
		return
	}
	if !h.register(w) {
		panic("watch: invariant broken: a watcher that has read all history is in the present")
	}
	w.mu.Lock()
	w.behind = false
	w.mu.Unlock()
}

// add puts w at the watch node of its key.
func (h *Hub) add(w *Watcher) {
	at := &h.root
	for rest := w.key; rest != ""; {
		var name string
		name, rest = tree.CutName(rest)
		at = at.makeChild(name)
	}
	w.at, w.pos = at, len(at.watchers)
	at.watchers = append(at.watchers, w)
}

// remove takes w out, if it is live, and with it the watch nodes that nobody else needs.
func (h *Hub) remove(w *Watcher) {
	at := w.at
	if at == nil {
		return
	}
	last := len(at.watchers) - 1
	at.watchers[w.pos] = at.watchers[last]
	at.watchers[w.pos].pos = w.pos
	at.watchers[last] = nil
	at.watchers = at.watchers[:last]
	w.at = nil
	at.prune()
}

// live lists all live watchers.
func (h *Hub) live() (all []*Watcher) {
	for open := []*watchNode{&h.root}; len(open) > 0; {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		all = append(all, at.watchers...)
		for child := range at.all() {
			open = append(open, child)
		}
	}
	return all
}
