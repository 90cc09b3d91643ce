package store

import (
	"bytes"
	"runtime"
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

// TestAShortEventKeepsNoLongOnesAlive holds short events, each of which came after a long one.
func TestAShortEventKeepsNoLongOnesAlive(t *testing.T) {
	var s shelf
	var held []*Event
	before := heapOf()
	for range shelfEvents {
		s.put(Event{}, make([]byte, 1<<20))
		held = append(held, s.put(Event{}, []byte("short")))
	}
	if after := heapOf(); after > before+(8<<20) {
		t.Errorf("%d short events hold %d MiB", len(held), (after-before)>>20)
	}
	runtime.KeepAlive(held)
}
