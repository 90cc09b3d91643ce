package etcdserver

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func testProposal(name string) proposal { return proposal{data: reserveID([]byte(name), idTag)} }

// Each request gets the outcome of its own id, however waiters are used again.
func TestWaitersGetTheirOwnOutcome(t *testing.T) {
	w := newWaiters(7)
	var all sync.WaitGroup
	for n := range 5000 {
		all.Go(func() {
			p := testProposal("x")
			r, err := w.register(p)
			if err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go w.finish(p.id(), outcome{applied: Applied{RaftIndex: p.id()}})
			if n%3 == 0 {
				cancel()
			}
			applied, err := w.wait(ctx, r)
			if err == nil && applied.RaftIndex != p.id() || err != nil && n%3 != 0 {
				t.Errorf("request %d got the outcome of %d, %v", p.id(), applied.RaftIndex, err)
			}
		})
	}
	all.Wait()
}

// A request that waits longer than the limit is told why, and one that comes
// after the end is told at once (K121, K126).
func TestWaitersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters(7)
		old, _ := w.register(testProposal("old"))
		time.Sleep(time.Minute)
		young, _ := w.register(testProposal("young"))
		if n := w.sweep(time.Now().Add(-time.Second), func(time.Time) error { return ErrTimeout }); n != 1 {
			t.Errorf("%d requests wait after the sweep, want 1", n)
		}
		if _, err := w.wait(t.Context(), old); !errors.Is(err, ErrTimeout) {
			t.Errorf("the old request got %v, want %v", err, ErrTimeout)
		}
		w.close()
		if _, err := w.wait(context.Background(), young); !errors.Is(err, ErrStopped) {
			t.Errorf("the young request got %v, want %v", err, ErrStopped)
		}
		if _, err := w.register(testProposal("late")); !errors.Is(err, ErrStopped) {
			t.Errorf("a request after the end got %v, want %v", err, ErrStopped)
		}
	})
}

// What is told to be finished is never a request that waits, or one to come.
func TestWaitersKnowWhatIsFinished(t *testing.T) {
	w := newWaiters(7)
	waiting := map[uint64]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		if rng.IntN(3) > 0 || len(waiting) == 0 {
			p := testProposal("x")
			if _, err := w.register(p); err != nil {
				t.Fatal(err)
			}
			if p.id() <= w.finished.Load() {
				t.Fatalf("request %d is new, and all up to %d are told to be finished", p.id(), w.finished.Load())
			}
			waiting[p.id()] = true
		} else {
			for id := range waiting {
				w.finish(id, outcome{})
				delete(waiting, id)
				break
			}
		}
		if rng.IntN(10) > 0 {
			continue
		}
		w.sweep(time.Time{}, nil)
		for id := range waiting {
			if id <= w.finished.Load() {
				t.Fatalf("request %d waits, and all up to %d are told to be finished", id, w.finished.Load())
			}
		}
	}
	if got := w.pending(nil); len(got) != len(waiting) || !slices.IsSortedFunc(got, func(a, b proposal) int { return cmp.Compare(a.id(), b.id()) }) {
		t.Errorf("%d requests are pending in order, want %d", len(got), len(waiting))
	}
}

func TestAnInboxIsBounded(t *testing.T) {
	b := newInbox[int](2)
	if !b.put(1) || !b.put(2) || b.put(3) {
		t.Error("an inbox for two took another number of items")
	}
	<-b.wake
	if got := b.take(nil); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("take = %v, want 1 and 2", got)
	}
	if !b.put(4) {
		t.Error("an emptied inbox is full")
	}
	<-b.wake
}
