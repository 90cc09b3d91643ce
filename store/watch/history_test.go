package watch

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"canopy/store/tree"
)

// TestHistoryIsBounded checks both limits, that copies stay readable, and that memory is freed.
func TestHistoryIsBounded(t *testing.T) {
	for _, l := range []Limits{{HistoryEvents: 1000}, {HistoryBytes: 300_000}, {HistoryEvents: 1}} {
		s := newSource(l)
		l = s.hub.limits
		for i := range 20_000 {
			s.put("/k", strings.Repeat("v", i%300))
			if i == 500 {
				old := s.hub.History()
				defer func() {
					if c := old.From(501); l.HistoryEvents > 1 && c.Next().index != 501 {
						t.Errorf("%+v: the history of an old view changed", l)
					}
				}()
			}
		}
		h := s.hub.History()
		if h.events > l.HistoryEvents || h.bytes > l.HistoryBytes || len(h.chunks) > h.events/chunkEvents+2+int(h.bytes/chunkBytes) {
			t.Errorf("%+v: %d events of %d bytes in %d chunks", l, h.events, h.bytes, len(h.chunks))
		}
		if first := h.From(0); first.Next().index != h.oldest || h.newest-h.oldest+1 != tree.Index(h.events) {
			t.Errorf("%+v: %d to %d, %d events", l, h.oldest, h.newest, h.events)
		}
		checkHistory(t, &h)
	}
}

// TestOneLargeEventStays: the newest event is kept even if it is larger than the limit of the history.
func TestOneLargeEventStays(t *testing.T) {
	s := newSource(Limits{HistoryBytes: 1000})
	s.put("/k", "small")
	s.put("/k", strings.Repeat("v", 5000))
	if got := ready(t, watching(t, s, "/k", Options{Since: 2})); got != "2" {
		t.Errorf("got %q", got)
	}
}

// TestHistoryFindsItsPlace looks for every index, with and without an event.
func TestHistoryFindsItsPlace(t *testing.T) {
	s := newSource(Limits{HistoryEvents: 700})
	for i := range 1000 {
		s.add(fmt.Sprintf("/k%d", i), "")
		s.index++
	}
	s.publish()
	h := s.hub.History()
	for since := h.oldest; since <= h.newest+1; since++ {
		want := since | 1 // events have the odd indexes
		c := h.From(since)
		if e := c.Next(); e == nil && want < h.newest || e != nil && e.index != want {
			t.Fatalf("from %d: %v", since, e)
		}
	}
}

// checkHistory compares what a history counts with its events.
func checkHistory(t *testing.T, h *History) {
	t.Helper()
	events, bytes, last := 0, int64(0), tree.Index(0)
	c := h.From(0)
	for e := c.Next(); e != nil; e = c.Next() {
		if e.index <= last || e.index < h.oldest || e.index > h.newest {
			t.Fatalf("event %d after %d in the history of %d to %d", e.index, last, h.oldest, h.newest)
		}
		last = e.index
		events++
		bytes += e.size()
	}
	if events != h.events || bytes != h.bytes {
		t.Fatalf("history of %d events, %d bytes counts %d, %d", events, bytes, h.events, h.bytes)
	}
}

// TestOldEventsTakeLittleMemory: the history keeps old events without their JSON.
func TestOldEventsTakeLittleMemory(t *testing.T) {
	const events = 50_000
	value := strings.Repeat("v", 64) // all nodes share it
	s := newSource(Limits{HistoryEvents: events})
	before := heapOf()
	for i := range events {
		s.put(fmt.Sprintf("/directory/key%06d", i), value)
	}
	grown := heapOf() - before
	h := s.hub.History()
	if most := uint64(h.Bytes()) * 2 / 3; grown > most {
		t.Errorf("%d events of %d bytes take %d bytes, want at most %d", h.Events(), h.Bytes(), grown, most)
	}
	t.Logf("%d bytes an event, %d if all are made", grown/events, h.Bytes()/events)
	runtime.KeepAlive(s)
}

// TestWhoWantsFewEventsMakesFew: a watcher of one key makes no JSON of the events of others.
func TestWhoWantsFewEventsMakesFew(t *testing.T) {
	s := newSource(Limits{})
	for i := range 10 * chunkEvents {
		s.add(fmt.Sprintf("/k%d", i%100), "")
	}
	s.publish()
	h := s.hub.History()
	w := &Watcher{key: "/k7"}
	allocations := testing.AllocsPerRun(1, func() {
		c := h.From(0)
		for e := c.next(w.wants); e != nil; e = c.next(w.wants) {
		}
	})
	if wanted := float64(10 * chunkEvents / 100); allocations > 3*wanted {
		t.Errorf("%v allocations for %v events", allocations, wanted)
	}
}
