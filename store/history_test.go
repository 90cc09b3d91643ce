package store

import (
	"fmt"
	"strings"
	"testing"
)

// TestHistoryIsBounded checks both limits, that snapshots of it stay readable, and that memory is given back.
func TestHistoryIsBounded(t *testing.T) {
	for _, o := range []Options{{HistoryEvents: 1000}, {HistoryBytes: 300_000}, {HistoryEvents: 1}} {
		s := New(o)
		o = s.hub.options
		for i := range 20_000 {
			must(t, s, file("/k", strings.Repeat("v", i%300)))
			if i == 500 {
				old := s.View()
				defer func() {
					if p := old.history.from(501); o.HistoryEvents > 1 && p.next().index != 501 {
						t.Errorf("%+v: the history of an old view changed", o)
					}
				}()
			}
		}
		h := s.hub.past()
		if h.events > o.HistoryEvents || h.bytes > o.HistoryBytes || len(h.chunks) > h.events/chunkEvents+2+int(h.bytes/chunkBytes) {
			t.Errorf("%+v: %d events of %d bytes in %d chunks", o, h.events, h.bytes, len(h.chunks))
		}
		if first := h.from(0); first.next().index != h.oldest || h.newest-h.oldest+1 != Index(h.events) {
			t.Errorf("%+v: %d to %d, %d events", o, h.oldest, h.newest, h.events)
		}
		checkInvariants(t, s)
	}
}

// TestOneLargeEventStays: the newest event is kept even if it is larger than all history may be.
func TestOneLargeEventStays(t *testing.T) {
	s := New(Options{HistoryBytes: 1000})
	must(t, s, file("/k", "small"), file("/k", strings.Repeat("v", 5000)))
	if got := ready(t, watching(t, s, "/k", WatchOptions{Since: 2})); got != "2" {
		t.Errorf("got %q", got)
	}
}

// TestHistoryFindsItsPlace looks for every index, also those without an event.
func TestHistoryFindsItsPlace(t *testing.T) {
	s := New(Options{HistoryEvents: 700})
	for i := range 1000 {
		must(t, s, file(fmt.Sprintf("/k%d", i), ""))
		s.Advance()
	}
	publish(s)
	h := s.hub.past()
	for since := h.oldest; since <= h.newest+1; since++ {
		want := since | 1 // events have the odd indexes
		p := h.from(since)
		if e := p.next(); e == nil && want < h.newest || e != nil && e.index != want {
			t.Fatalf("from %d: %v", since, e)
		}
	}
}
