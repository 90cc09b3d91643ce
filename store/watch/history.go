package watch

import (
	"sort"

	"canopy/store/tree"
)

// History is the latest events, in chunks that are filled once and never changed afterwards. A copy of it stays as it is
// without any lock: the writer fills only positions that the copy does not read, and replaces or drops chunks by making a new
// list of them.
type History struct {
	chunks []*chunk
	first  int        // chunks[0] begins at first; 0 <= first < chunkEvents
	last   int        // events in the last chunk; 0 <= last <= chunkEvents
	events int        // in all chunks
	bytes  int64      // in all chunks, by Event.size
	oldest tree.Index // every event from here on is held, or was silent (K46, K67); 1 <= oldest <= newest+1
	newest tree.Index // the store index
}

// A chunk is full when it has chunkEvents events, or chunkBytes bytes. The history drops whole chunks, so it exceeds its
// limits by at most one.
const (
	chunkEvents = 256
	chunkBytes  = 256 << 10
)

// hotChunks is how many of the latest chunks are hot: so many events can be read at once by all who lag a little.
const hotChunks = 4

// chunk is a part of the history. A hot one has events. A cold one has only their changes, which take a third of the memory,
// and an event is made again when somebody reads it. Events of a snapshot have no changes, and stay hot.
type chunk struct {
	events  []*Event // nil: cold
	changes []Change // nil: from a snapshot; not both are nil
	count   int      // final once another chunk follows
	bytes   int64    // only the writer uses it
}

func newChunk(events, changes bool) *chunk {
	c := &chunk{}
	if events {
		c.events = make([]*Event, chunkEvents)
	}
	if changes {
		c.changes = make([]Change, chunkEvents)
	}
	return c
}

func (c *chunk) index(pos int) tree.Index {
	if c.changes != nil {
		return c.changes[pos].Index
	}
	return c.events[pos].index
}

func (c *chunk) size(pos int) int64 {
	if c.changes != nil {
		return int64(c.changes[pos].size)
	}
	return c.events[pos].size()
}

// event returns an event, and makes it if the chunk is cold.
func (c *chunk) event(pos int) *Event {
	if c.events != nil {
		return c.events[pos]
	}
	return c.changes[pos].makeEvent()
}

// head returns an event, of which the JSON may be missing. It uses scratch.
func (c *chunk) head(pos int, scratch *Event) *Event {
	if c.events != nil {
		return c.events[pos]
	}
	*scratch = c.changes[pos].head()
	return scratch
}

// Oldest is the lowest index from which a watch is possible.
func (h *History) Oldest() tree.Index { return h.oldest }

// Newest is the store index.
func (h *History) Newest() tree.Index { return h.newest }

// Events is the number of events.
func (h *History) Events() int { return h.events }

// Bytes is the memory that the events take if all are made.
func (h *History) Bytes() int64 { return h.bytes }

// add appends an event that is newer than all others, and its change. The event is nil if it is made later, and the change
// if it is not known.
func (h *History) add(e *Event, c *Change) {
	if n := len(h.chunks); n == 0 || h.last == chunkEvents || h.chunks[n-1].bytes >= chunkBytes ||
		(h.chunks[n-1].events != nil) != (e != nil) || (h.chunks[n-1].changes != nil) != (c != nil) {
		h.cool()
		h.chunks = append(h.chunks, newChunk(e != nil, c != nil))
		h.last = 0
	}
	last := h.chunks[len(h.chunks)-1]
	if e != nil {
		last.events[h.last] = e
	}
	if c != nil {
		last.changes[h.last] = *c
		last.changes[h.last].setSize(e)
	}
	size := last.size(h.last)
	h.last++
	last.count = h.last
	last.bytes += size
	h.events++
	h.bytes += size
}

// cool makes one more chunk cold, when the last one is full.
func (h *History) cool() {
	i := len(h.chunks) - hotChunks
	if i < 0 || h.chunks[i].events == nil || h.chunks[i].changes == nil {
		return
	}
	h.chunks = append(make([]*chunk, 0, len(h.chunks)+chunkEvents), h.chunks...)
	h.chunks[i] = &chunk{changes: h.chunks[i].changes, count: h.chunks[i].count, bytes: h.chunks[i].bytes}
}

// trim drops the oldest events until the limits hold. The newest event stays even if it alone is too large.
func (h *History) trim(l Limits) { h.shrink(1, l.HistoryEvents, l.HistoryBytes) }

// shrink drops the oldest events while there are more than events or bytes. At least least events stay.
func (h *History) shrink(least, events int, bytes int64) {
	dropped := 0 // chunks
	for h.events > least && (h.events > events || h.bytes > bytes) {
		c := h.chunks[dropped]
		h.oldest = c.index(h.first) + 1
		h.events--
		h.bytes -= c.size(h.first)
		if h.first++; h.first == h.count(dropped) {
			dropped++
			h.first = 0
		}
	}
	if dropped > 0 {
		h.chunks = append(make([]*chunk, 0, 2*(len(h.chunks)-dropped)), h.chunks[dropped:]...)
	}
}

// From returns a cursor before the first event whose index is at least since.
func (h *History) From(since tree.Index) Cursor {
	chunk := sort.Search(len(h.chunks), func(i int) bool {
		return h.chunks[i].index(h.count(i)-1) >= since
	})
	if chunk == len(h.chunks) {
		return Cursor{h: h, chunk: chunk}
	}
	first := 0
	if chunk == 0 {
		first = h.first
	}
	pos := first + sort.Search(h.count(chunk)-first, func(i int) bool {
		return h.chunks[chunk].index(first+i) >= since
	})
	return Cursor{h: h, chunk: chunk, pos: pos}
}

// count is the number of events in a chunk that this copy of the history may read.
func (h *History) count(chunk int) int {
	if chunk == len(h.chunks)-1 {
		return h.last
	}
	return h.chunks[chunk].count
}

// Cursor walks a history towards the present.
type Cursor struct {
	h          *History
	chunk, pos int
	scratch    Event
}

// Next returns the next event, or nil after the newest.
func (c *Cursor) Next() *Event { return c.next(func(*Event) bool { return true }) }

// next returns the next event that is wanted. Of others it makes no JSON, and wants may see none.
func (c *Cursor) next(wants func(*Event) bool) *Event {
	for c.chunk < len(c.h.chunks) {
		if c.pos == c.h.count(c.chunk) {
			c.chunk++
			c.pos = 0
			continue
		}
		at := c.h.chunks[c.chunk]
		c.pos++
		if wants(at.head(c.pos-1, &c.scratch)) {
			return at.event(c.pos - 1)
		}
	}
	return nil
}
