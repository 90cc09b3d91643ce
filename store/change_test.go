package store

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store/watch"
)

// TestDeferredEventsAreTheSame runs commands on two stores. One of them was loaded, and makes its events later. In the end both are equal, tree and history, whether the history is bounded in number or in bytes.
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
		_, _ = s.Apply(Time(d.now), c) // the counters show that both refuse the same commands
	}
	d.model.index = uint64(d.store.index)
}

func saved(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.View().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLongEventsAreMadeInPlace: the memory for a long event's JSON is exactly as long as the JSON.
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

// TestHeldEventsAreCounted: a store knows how many bytes its unpublished events take, so that they can be bounded.
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

// TestOldEventsAreMadeAgain: an event that is read from far back in the history is the one that was published, to the byte.
func TestOldEventsAreMadeAgain(t *testing.T) {
	o := Options{}
	d := &duel{t: t, rng: rand.New(rand.NewPCG(rng.Seed(t), 0)), options: o, store: New(o), model: newModel(o), now: 1_700_000_000_123456789}
	var want []*watch.Event
	for d.store.index < 4000 {
		from := d.store.index + 1
		for range 1 + d.rng.IntN(20) {
			d.commandFor(d.store)
		}
		d.store.Publish()
		h := d.store.hub.History()
		c := h.From(from)
		for e := c.Next(); e != nil; e = c.Next() {
			want = append(want, e)
		}
	}
	h := d.store.hub.History()
	c, made := h.From(0), 0
	for i, w := range want {
		e := c.Next()
		if e == nil || e.Index() != w.Index() || e.Key() != w.Key() || e.Action() != w.Action() || e.Flags() != w.Flags() || !bytes.Equal(e.JSON(), w.JSON()) {
			t.Fatalf("event %d is %+v\nwant %+v", i, e, w)
		}
		if e != w {
			made++
		}
	}
	if made < len(want)/3 || c.Next() != nil {
		t.Errorf("%d of %d events were made again", made, len(want))
	}
}
