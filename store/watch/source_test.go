package watch

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"canopy/store/tree"
)

// source makes and publishes events, as a store does.
type source struct {
	hub    *Hub
	events *Publisher
	index  tree.Index
}

func newSource(l Limits) *source {
	h := NewHub(l)
	return &source{hub: h, events: NewPublisher(h)}
}

// add makes the event of a file that is set. It is not published.
func (s *source) add(key, value string) *Event {
	s.index++
	n := tree.NewNode(value, nil, s.index, s.index, 0)
	return s.events.Add(&Change{Action: ActionSet, Flags: FlagCreated, Key: key, Index: s.index, Node: n})
}

// put makes the event of a file that is set, and publishes it.
func (s *source) put(key, value string) *Event {
	e := s.add(key, value)
	s.publish()
	return e
}

// publish publishes, and wakes all watchers that wait.
func (s *source) publish() {
	s.publishOnly()
	for s.events.Wake() {
	}
}

func (s *source) publishOnly() { s.events.Publish(s.index, func(History) {}) }

// watching registers a watcher that is closed with the test.
func watching(t testing.TB, s *source, key string, o Options) *Watcher {
	t.Helper()
	w, err := s.hub.Watch(key, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// ready returns the indexes of the events that can be had without waiting.
func ready(t testing.TB, w *Watcher) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got []string
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return strings.Join(got, " ")
		}
		got = append(got, fmt.Sprint(e.Index()))
	}
}

// heapOf is the live heap in bytes.
func heapOf() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
