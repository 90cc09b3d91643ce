package store

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestDeferredEventsAreTheSame runs commands on two stores, one of which makes its events later, in pieces of any size. In
// the end nothing tells them apart: not the tree, and not the history, where that is bounded by number or by bytes.
func TestDeferredEventsAreTheSame(t *testing.T) {
	for _, o := range []Options{{HistoryEvents: 100}, {HistoryBytes: 20_000}, {HistoryEvents: 1, HistoryBytes: 1}, {}} {
		d := &duel{t: t, dice: rand.New(rand.NewPCG(chosenSeed(t), 0)), options: o, store: New(o), model: newModel(o), now: 1_700_000_000_123456789}
		other := New(o)
		other.DeferEvents()
		var spare Changes
		for range 3000 {
			d.now += d.dice.Int64N(2e8)
			c := d.randomCommand()
			if set, ok := c.(Set); ok && d.bool(50) {
				set.Value = strings.Repeat("\x01<é", d.dice.IntN(30_000))
				c = set
			}
			for _, s := range []*Store{d.store, other} {
				s.Expire(Time(d.now), 3)
				_, _ = s.Apply(Time(d.now), c) // that both refuse the same shows in the counters
			}
			d.model.index = uint64(d.store.index)
			if d.bool(20) {
				d.store.Publish()
			}
			if d.bool(30) {
				changes := other.TakeChanges(spare)
				for _, c := range changes.list {
					if json := c.appendJSON(nil); c.jsonBytes() != len(json) {
						t.Fatalf("%d bytes are reckoned for %s", c.jsonBytes(), json)
					}
				}
				other.Record(changes)
				spare = changes
			}
		}
		d.store.Publish()
		other.Record(other.TakeChanges(Changes{}))
		if d.bool(2) {
			for _, part := range other.MakeEvents(1 + d.dice.IntN(4)) {
				part()
			}
		}
		other.Publish()
		if want, got := saved(t, d.store), saved(t, other); !bytes.Equal(got, want) {
			t.Errorf("%+v: a store of %d bytes differs from one of %d", o, len(got), len(want))
		}
	}
}

func saved(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.View().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLongEventsAreMadeInPlace: what the memory for a long event's JSON is reckoned with is what it takes.
func TestLongEventsAreMadeInPlace(t *testing.T) {
	for _, piece := range []string{"x", "\x01", "<é\u2028\xff", "\n\""} {
		s := New(Options{})
		for range 2 {
			e, err := s.Apply(1, Set{Key: mustKey("/k" + piece), Value: strings.Repeat(piece, 100_000), TTL: TTL{Set: true, Seconds: 5}})
			if err != nil {
				t.Fatal(err)
			}
			if room := cap(e.JSON()) - len(e.JSON()); room != 0 {
				t.Errorf("%q: %d bytes of JSON have room for %d more", piece, len(e.JSON()), room)
			}
		}
	}
}

// TestHeldEventsAreCounted: what waits to be published is known in bytes, so that whoever applies can bound it.
func TestHeldEventsAreCounted(t *testing.T) {
	s := New(Options{})
	e, err := s.Apply(1, Set{Key: mustKey("/k"), Value: strings.Repeat("\x01", 1000)})
	if err != nil || s.Held() < int64(len(e.JSON())) {
		t.Errorf("%d bytes are held after an event of %d, %v", s.Held(), len(e.JSON()), err)
	}
	if s.Publish(); s.Held() != 0 {
		t.Errorf("%d bytes are held after Publish", s.Held())
	}
}
