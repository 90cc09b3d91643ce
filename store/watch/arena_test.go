package watch

import (
	"bytes"
	"runtime"
	"testing"

	"canopy/store/tree"
)

// TestEventsInAnArenaStayApart keeps events of all sizes, some too long for an arena, and appends to the JSON of each.
func TestEventsInAnArenaStayApart(t *testing.T) {
	const count = 5 * arenaEvents
	var a arena
	jsonOf := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*37%(arenaJSONMax+100)) }
	var events []*Event
	for i := range count {
		events = append(events, a.put(Event{index: tree.Index(i)}, jsonOf(i)))
	}
	for _, e := range events {
		_ = append(e.json, "overwritten"...)
	}
	for i, e := range events {
		if e.index != tree.Index(i) || !bytes.Equal(e.json, jsonOf(i)) {
			t.Fatalf("event %d is now %d, with %d bytes of %q", i, e.index, len(e.json), e.json[:min(20, len(e.json))])
		}
	}
}

// TestAShortEventKeepsNoLongOnesAlive keeps short events, each of which follows a long one.
func TestAShortEventKeepsNoLongOnesAlive(t *testing.T) {
	var a arena
	var held []*Event
	before := heapOf()
	for range arenaEvents {
		a.put(Event{}, make([]byte, 1<<20))
		held = append(held, a.put(Event{}, []byte("short")))
	}
	if after := heapOf(); after > before+(8<<20) {
		t.Errorf("%d short events hold %d MiB", len(held), (after-before)>>20)
	}
	runtime.KeepAlive(held)
}
