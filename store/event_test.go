package store

import (
	"bytes"
	"testing"
)

// TestEventsOnAShelfStayApart keeps events of all sizes, some too long for a shelf, and appends to the JSON of each.
func TestEventsOnAShelfStayApart(t *testing.T) {
	const count = 5 * shelfEvents
	var s shelf
	jsonOf := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*37%(shelvedMax+100)) }
	var events []*Event
	for i := range count {
		events = append(events, s.put(Event{index: Index(i)}, jsonOf(i)))
	}
	for _, e := range events {
		_ = append(e.json, "overwritten"...)
	}
	for i, e := range events {
		if e.index != Index(i) || !bytes.Equal(e.json, jsonOf(i)) {
			t.Fatalf("event %d is now %d, with %d bytes of %q", i, e.index, len(e.json), e.json[:min(20, len(e.json))])
		}
	}
}
