package store

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
)

// TestDeferredEventsAreTheSame runs commands on two stores. One is loaded at some time, and makes its events later, by one
// or several makers. In the end nothing tells them apart: not the tree, and not the history, where that is bounded by
// number or by bytes.
func TestDeferredEventsAreTheSame(t *testing.T) {
	for _, o := range []Options{{HistoryEvents: 100}, {HistoryEvents: 1000}, {HistoryBytes: 20_000}, {HistoryEvents: 1, HistoryBytes: 1}, {}} {
		d := &duel{t: t, rng: rand.New(rand.NewPCG(rng.Seed(t), 0)), options: o, store: New(o), model: newModel(o), now: 1_700_000_000_123456789}
		for range d.rng.IntN(2000) {
			d.commandFor(d.store)
		}
		d.store.Publish()
		other, err := Load(bytes.NewReader(saved(t, d.store)), o)
		if err != nil {
			t.Fatal(err)
		}
		other.DeferEvents()
		for range d.rng.IntN(2000) {
			d.commandFor(d.store, other)
			if d.bool(20) {
				d.store.Publish()
			}
		}
		d.store.Publish()
		checkReckoned(t, other.late)
		if d.bool(2) {
			for _, part := range other.MakeEvents(1 + d.rng.IntN(4)) {
				part()
			}
		}
		other.Publish()
		if want, got := saved(t, d.store), saved(t, other); !bytes.Equal(got, want) {
			t.Errorf("%+v: a store of %d bytes differs from one of %d", o, len(got), len(want))
		}
	}
}

// commandFor runs the next command on these stores.
func (d *duel) commandFor(stores ...*Store) {
	d.now += d.rng.Int64N(2e8)
	c := d.randomCommand()
	if set, ok := c.(Set); ok && d.bool(50) {
		set.Value = strings.Repeat("\x01<é", d.rng.IntN(30_000))
		c = set
	}
	for _, s := range stores {
		s.Expire(Time(d.now), 3)
		_, _ = s.Apply(Time(d.now), c) // that all refuse the same shows in the counters
	}
	d.model.index = uint64(d.store.index)
}

// checkReckoned checks what changes say of the bytes that their events will take.
func checkReckoned(t *testing.T, l *late) {
	t.Helper()
	for i := range l.count() {
		c := l.at(i)
		if json := c.appendJSON(nil); c.jsonBytes() != len(json) || c.leastBytes() > int64(len(json)) {
			t.Fatalf("%d bytes, and at least %d, are reckoned for %s", c.jsonBytes(), c.leastBytes(), json)
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
