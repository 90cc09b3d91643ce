package watch

import "canopy/store/tree"

// Defer makes Add keep changes and make no events, until Undefer. It is for a store that nobody looks at yet: all but few of
// its events are never made.
func (p *Publisher) Defer() { p.deferred = &deferred{} }

// addDeferred keeps a change for the history, and drops changes that certainly no longer belong to it.
func (p *Publisher) addDeferred(c *Change) {
	d, l := p.deferred, &p.hub.limits
	d.add(c.kept())
	for d.count() > 1 && (d.count() > l.HistoryEvents || d.bytes > l.HistoryBytes) {
		d.drop()
	}
	if d.last == chunkEvents {
		p.shrinkHistory(d.bytes)
	}
}

// Undefer adds the deferred changes to the history, which makes their events when somebody reads them.
func (p *Publisher) Undefer() {
	d := p.deferred
	if d == nil {
		return
	}
	p.shrinkHistory(d.trim(p.hub.limits.HistoryBytes))
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.dropped != 0 {
		h.history.oldest = d.dropped + 1
	}
	for i := range d.count() {
		h.history.add(nil, d.at(i))
	}
	p.deferred = nil
}

// shrinkHistory drops events of the history to make room for the deferred ones, which take at least this many bytes. If a
// deferred one was dropped, it drops all, so that the history has no gap.
func (p *Publisher) shrinkHistory(bytes int64) {
	h := p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if count := p.deferred.count(); p.deferred.dropped != 0 {
		h.history.shrink(0, 0, 0)
	} else {
		h.history.shrink(max(0, 1-count), h.limits.HistoryEvents-count, h.limits.HistoryBytes-bytes)
	}
}

// deferred has changes that belong to the history, behind the events that it has. They are in chunks of chunkEvents; all
// but the last are full.
type deferred struct {
	chunks  [][]Change
	first   int // chunks[0][first] is the oldest change; 0 <= first < chunkEvents
	last    int // changes in the last chunk; 0 <= last <= chunkEvents
	spare   []Change
	bytes   int64      // by Change.minBytes: less than the events take, whose size is known when they are made
	dropped tree.Index // of the newest change that was dropped; 0: none was
}

func (d *deferred) count() int {
	if len(d.chunks) == 0 {
		return 0
	}
	return (len(d.chunks)-1)*chunkEvents + d.last - d.first
}

// at is the i-th change. 0 <= i < count.
func (d *deferred) at(i int) *Change {
	i += d.first
	return &d.chunks[i/chunkEvents][i%chunkEvents]
}

func (d *deferred) add(c Change) {
	if len(d.chunks) == 0 || d.last == chunkEvents {
		if d.spare == nil {
			d.spare = make([]Change, chunkEvents)
		}
		d.chunks, d.spare, d.last = append(d.chunks, d.spare), nil, 0
	}
	d.chunks[len(d.chunks)-1][d.last] = c
	d.last++
	d.bytes += c.minBytes()
}

// drop drops the oldest change.
func (d *deferred) drop() {
	c := d.at(0)
	d.dropped = c.Index
	d.bytes -= c.minBytes()
	*c = Change{}
	if d.first++; d.first == chunkEvents {
		d.spare, d.chunks, d.first = d.chunks[0], d.chunks[1:], 0
	}
}

// trim drops the oldest changes until the events of the others take at most so many bytes, and returns how many they take.
// The newest stays even if it alone is too large.
func (d *deferred) trim(most int64) (bytes int64) {
	kept := 0
	for kept < d.count() {
		c := d.at(d.count() - 1 - kept)
		size := eventSize(c.Key, c.jsonLen())
		if kept > 0 && bytes+size > most {
			break
		}
		bytes += size
		kept++
	}
	for d.count() > kept {
		d.drop()
	}
	return bytes
}
