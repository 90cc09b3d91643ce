package watch

import "canopy/store/tree"

// Publisher is the writing side of a hub: it makes the events of changes, and publishes them. One goroutine uses it.
type Publisher struct {
	hub      *Hub
	encoder  encoder
	batch    []pending // since the last Publish
	held     int64     // bytes of memory that the events in batch take
	deferred *deferred // changes whose events are made later; nil: events are made at once
}

// pending is an event that was not published yet.
type pending struct {
	event   *Event
	change  Change    // of the event, as the history keeps it
	removed *tree.Dir // the children of the directory that was removed, if one was
}

// NewPublisher returns the writing side of h. A hub has one.
func NewPublisher(h *Hub) *Publisher { return &Publisher{hub: h} }

// Add makes the event of a change. It is published unless it is silent. While events are deferred, Add returns nil.
func (p *Publisher) Add(c *Change) *Event {
	if p.deferred != nil {
		if !c.Silent {
			p.addDeferred(c)
		}
		return nil
	}
	e := p.encoder.event(c)
	if !c.Silent {
		var removed *tree.Dir
		if c.Flags&FlagDirRemoved != 0 {
			removed = c.Old.Dir()
		}
		p.batch = append(p.batch, pending{event: e, change: c.kept(), removed: removed})
		p.held += e.size()
	}
	return e
}

// Held is the memory that events take which were not published yet, in bytes.
func (p *Publisher) Held() int64 { return p.held }

// Publish adds the events since the last Publish to the history, calls show with it, and gives the events to live watchers. No
// watcher is registered in between (K91). Publish wakes the first few of the watchers that wait, and Wake the others.
func (p *Publisher) Publish(index tree.Index, show func(History)) {
	p.hub.publish(index, p.batch, show)
	p.batch, p.held = reusable(p.batch), 0
}

// Wake wakes some of the watchers that wait and have got an event, and reports whether there are more. The caller calls it
// until there are none. If an event for thousands woke all of them at once, the next write would have to wait; and a watcher
// that is woken late gets several events together.
func (p *Publisher) Wake() (more bool) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	return p.hub.wake()
}

// Replace makes past the history, and drops what was not published. It calls show with the new history. Live watchers get
// the events that they have missed, if past reaches back to them; the others end (K114).
func (p *Publisher) Replace(index tree.Index, past History, show func(History)) {
	p.batch, p.held = nil, 0
	p.hub.replace(index, past, show)
}

// Restore begins the history that a snapshot has: oldest is the lowest index from which a watch is possible.
func (p *Publisher) Restore(oldest tree.Index) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.hub.history.oldest = oldest
}

// RestoreEvent adds an event that a snapshot has.
func (p *Publisher) RestoreEvent(e *Event) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.hub.history.add(e, nil)
}
