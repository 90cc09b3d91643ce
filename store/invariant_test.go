package store

import (
	"testing"
)

// checkInvariants walks the whole store and checks what its parts promise one another.
func checkInvariants(t testing.TB, s *Store) {
	t.Helper()
	if err := s.tree.Check(); err != nil {
		t.Fatal(err)
	}
	timed := 0
	for path, at := range s.tree.Root().Dir().Deadlines("") {
		timed++
		if _, ok := s.deadlines.Get(deadline{at, path}); !ok {
			t.Fatalf("%s: its deadline is not known", path)
		}
	}
	if timed != s.deadlines.Len() {
		t.Fatalf("%d nodes with a deadline, %d deadlines", timed, s.deadlines.Len())
	}
	h := s.hub.History()
	events, last := 0, Index(0)
	c := h.From(0)
	for e := c.Next(); e != nil; e = c.Next() {
		if e.Index() <= last || e.Index() < h.Oldest() || e.Index() > h.Newest() {
			t.Fatalf("event %d after %d in the history of %d to %d", e.Index(), last, h.Oldest(), h.Newest())
		}
		last = e.Index()
		events++
	}
	if events != h.Events() {
		t.Fatalf("history of %d events counts %d", events, h.Events())
	}
}
