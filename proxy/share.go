package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"canopy/internal/memory"
)

// keyOf names the events of a watch: watches of the same name get the same events (P41). It is "" if the request has anything
// for which that is not known.
func keyOf(r *http.Request) (key string, single bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", false
	}
	for name, values := range query {
		if len(values) != 1 || !slices.Contains([]string{"wait", "recursive", "stream", "waitIndex"}, name) {
			return "", false
		}
	}
	recursive, stream := isTrue(query, "recursive"), isTrue(query, "stream")
	parts := []string{r.URL.EscapedPath(), strconv.FormatBool(recursive), strconv.FormatBool(stream)}
	return strings.Join(append(parts, r.Header["Authorization"]...), "\n"), !stream
}

// isTrue parses a parameter as members do.
func isTrue(query url.Values, name string) bool {
	is, err := strconv.ParseBool(query.Get(name))
	return err == nil && is
}

// A feedSet is the set of feeds that may be shared.
type feedSet struct {
	mu   sync.Mutex // guards open; locked before that of a feed
	open map[string]*feed

	memory *memory.Budget // for events that streams hold, each counted once
}

// written tells that events were written by one of their holders. Events that are still being delivered may be counted again.
func (s *feedSet) written(events []*event) {
	for _, e := range events {
		if e.holders.Add(-1) == 0 {
			s.memory.Give(int64(len(e.frame)))
		}
	}
}

// enter gives a stream its feed: one that it can share, or its own, which others can share from now on.
func (s *feedSet) enter(own *feed, founder *stream) *feed {
	if own.key == "" {
		return own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.open[own.key]; other != nil && other.join(founder, own.x.endpoint) {
		return other
	}
	if s.open == nil {
		s.open = map[string]*feed{}
	}
	s.open[own.key] = own
	return own
}

// remove removes a feed, so that nobody joins it any more.
func (s *feedSet) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[f.key] == f {
		delete(s.open, f.key)
	}
}

// An event is what the streams of a shared feed get.
type event struct {
	index   uint64
	frame   []byte       // as a chunk
	holders atomic.Int32 // streams that must still write it
}

var (
	errNoEvent   = errors.New("the member sent an invalid event")
	errEventSize = errors.New("the member sent an event of more than 64 MiB")
)

const (
	eventBytesMax  = 64 << 20 // more than two values of the largest request
	eventBytesKept = 64 << 10 // of the buffer for the beginning of an event
)

// share gives all streams the events that were found.
func (f *feed) share(ctx context.Context, b []byte) error {
	if !f.served {
		f.served, f.held = true, nil
		f.serving.Go(func() {
			defer f.founder.client.Close() // it may be the first to end, in the middle of a feed
			f.founder.serve(ctx, f)
		})
	}
	err := f.chunks.scan(b, f.find)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		f.deliver(e)
	}
	f.events = nil
	return err
}

// find searches for the ends of events in the contents of chunks.
func (f *feed) find(data []byte) error {
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(data)
		}
		if len(f.line)+n > eventBytesMax {
			return errEventSize
		}
		if !f.takeLine(len(f.line) + n) {
			return errMemory
		}
		f.line, data = append(f.line, data[:n]...), data[n:]
		if !whole {
			break
		}
		e, err := newEvent(f.line)
		if err != nil {
			return err
		}
		f.events = append(f.events, e)
		if f.line = f.line[:0]; cap(f.line) > eventBytesKept {
			f.line = nil
			f.giveLine()
		}
	}
	return nil
}

// takeLine takes memory for an event that arrives in parts.
func (f *feed) takeLine(bytes int) bool {
	need := int64(bytes) - eventBytesKept - f.taken
	if need <= 0 {
		return true
	}
	need = max(need, f.taken)
	if !f.p.o.Memory.Take(need) {
		return false
	}
	f.taken += need
	return true
}

func (f *feed) giveLine() {
	f.p.o.Memory.Give(f.taken)
	f.taken = 0
}

// newEvent frames an event. A watch may end with an error instead, which is not an event.
func newEvent(line []byte) (*event, error) {
	var e struct {
		Node struct{ ModifiedIndex uint64 }
	}
	if json.Unmarshal(line, &e) != nil || e.Node.ModifiedIndex == 0 {
		return nil, errNoEvent
	}
	frame := append(chunkHead(make([]byte, 0, len(line)+16), len(line)), line...)
	return &event{index: e.Node.ModifiedIndex, frame: append(frame, "\r\n"...)}, nil
}

// deliver queues events for their streams; mu is held. It cuts a client whose queue is full, since the others do not wait
// for it.
func (f *feed) deliver(e *event) {
	f.after = max(f.after, e.index)
	for _, s := range slices.Clone(f.streams) {
		switch {
		case e.index <= s.after:
		case !s.give(e):
			f.remove(s)
			s.client.Close()
		case s.single:
			f.remove(s)
			s.end(true)
		}
	}
}
