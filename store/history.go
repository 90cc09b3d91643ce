package store

import "sort"

// A history is the row of the latest events, in chunks that are filled once and never changed after. Copying the
// struct gives a snapshot that stays valid without any lock: the writer only ever fills places the copy does not look
// at, and forgets whole chunks by starting a new list.
type history struct {
	chunks []*chunk
	first  int   // place in chunks[0] of the oldest event
	last   int   // events in the last chunk
	events int   // in all
	bytes  int64 // in all, as Event.size counts
	oldest Index // every event from here on is held, or made no event for the history (K46, K67)
	newest Index // the store index
}

// A chunk is closed when it is full of events or of bytes; it is what is forgotten at a time, so memory goes over the
// limits by at most one chunk.
const (
	chunkEvents = 256
	chunkBytes  = 256 << 10
)

type chunk struct {
	events [chunkEvents]*Event
	count  int   // final once another chunk follows
	bytes  int64 // writer only
}

// add appends e, which is newer than all others.
func (h *history) add(e *Event) {
	if n := len(h.chunks); n == 0 || h.last == chunkEvents || h.chunks[n-1].bytes >= chunkBytes {
		h.chunks = append(h.chunks, new(chunk))
		h.last = 0
	}
	c := h.chunks[len(h.chunks)-1]
	c.events[h.last] = e
	h.last++
	c.count = h.last
	c.bytes += e.size()
	h.events++
	h.bytes += e.size()
}

// trim forgets the oldest events until the limits hold. The newest event stays even when it alone is too large.
func (h *history) trim(o Options) { h.shrink(1, o.HistoryEvents, o.HistoryBytes) }

// shrink forgets the oldest events while there are more than so many, or more bytes; at least so many stay.
func (h *history) shrink(least, events int, bytes int64) {
	forgotten := 0 // chunks
	for h.events > least && (h.events > events || h.bytes > bytes) {
		c := h.chunks[forgotten]
		e := c.events[h.first]
		h.oldest = e.index + 1
		h.events--
		h.bytes -= e.size()
		if h.first++; h.first == h.count(forgotten) {
			forgotten++
			h.first = 0
		}
	}
	if forgotten > 0 {
		h.chunks = append(make([]*chunk, 0, 2*(len(h.chunks)-forgotten)), h.chunks[forgotten:]...)
	}
}

// from returns a cursor before the first event whose index is at least since.
func (h *history) from(since Index) past {
	chunk := sort.Search(len(h.chunks), func(i int) bool {
		return h.at(i, h.count(i)-1).index >= since
	})
	if chunk == len(h.chunks) {
		return past{h: h, chunk: chunk}
	}
	first := 0
	if chunk == 0 {
		first = h.first
	}
	place := first + sort.Search(h.count(chunk)-first, func(i int) bool {
		return h.at(chunk, first+i).index >= since
	})
	return past{h: h, chunk: chunk, place: place}
}

// count is the number of places in a chunk that this snapshot may look at.
func (h *history) count(chunk int) int {
	if chunk == len(h.chunks)-1 {
		return h.last
	}
	return h.chunks[chunk].count
}

func (h *history) at(chunk, place int) *Event { return h.chunks[chunk].events[place] }

// past walks a history towards the present.
type past struct {
	h            *history
	chunk, place int
}

// next returns the next event, or nil when the snapshot ends.
func (p *past) next() *Event {
	for p.chunk < len(p.h.chunks) {
		if p.place < p.h.count(p.chunk) {
			e := p.h.at(p.chunk, p.place)
			p.place++
			return e
		}
		p.chunk++
		p.place = 0
	}
	return nil
}
