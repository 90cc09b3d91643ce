package pending

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

	"canopy/etcdserver/outcome"
)

func testProposal(name string) Proposal { return Proposal{Data: reserveID([]byte(name), idTag)} }

// Each request gets the result of its own id, even though waiters are used again.
func TestWaitersGetTheirOwnResult(t *testing.T) {
	w := New(7, BytesMax)
	var all sync.WaitGroup
	for n := range 5000 {
		all.Go(func() {
			p := testProposal("x")
			r, err := w.Register(p)
			if err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go w.Finish(p.ID(), Result{Applied: outcome.Applied{RaftIndex: p.ID()}})
			if n%3 == 0 {
				cancel()
			}
			applied, err := w.Wait(ctx, r)
			if err == nil && applied.RaftIndex != p.ID() || err != nil && n%3 != 0 {
				t.Errorf("request %d got the result of %d, %v", p.ID(), applied.RaftIndex, err)
			}
		})
	}
	all.Wait()
}

// A request that waits longer than the limit is told why, and one that comes
// after the end is told at once (K121, K126).
func TestWaitersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(7, BytesMax)
		old, _ := w.Register(testProposal("old"))
		time.Sleep(time.Minute)
		young, _ := w.Register(testProposal("young"))
		if n := w.Sweep(time.Now().Add(-time.Second), func(time.Time) error { return outcome.ErrTimeout }); n != 1 {
			t.Errorf("%d requests wait after the sweep, want 1", n)
		}
		if _, err := w.Wait(t.Context(), old); !errors.Is(err, outcome.ErrTimeout) {
			t.Errorf("the old request got %v, want %v", err, outcome.ErrTimeout)
		}
		w.Close()
		if _, err := w.Wait(context.Background(), young); !errors.Is(err, outcome.ErrStopped) {
			t.Errorf("the young request got %v, want %v", err, outcome.ErrStopped)
		}
		if _, err := w.Register(testProposal("late")); !errors.Is(err, outcome.ErrStopped) {
			t.Errorf("a request after the end got %v, want %v", err, outcome.ErrStopped)
		}
	})
}

// What is told to be finished is never a request that waits, or one to come.
func TestWaitersKnowWhatIsFinished(t *testing.T) {
	w := New(7, BytesMax)
	waiting := map[uint64]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		if rng.IntN(3) > 0 || len(waiting) == 0 {
			p := testProposal("x")
			if _, err := w.Register(p); err != nil {
				t.Fatal(err)
			}
			if p.ID() <= w.Finished() {
				t.Fatalf("request %d is new, and all up to %d are told to be finished", p.ID(), w.Finished())
			}
			waiting[p.ID()] = true
		} else {
			for id := range waiting {
				w.Finish(id, Result{})
				delete(waiting, id)
				break
			}
		}
		if rng.IntN(10) > 0 {
			continue
		}
		w.Sweep(time.Time{}, nil)
		for id := range waiting {
			if id <= w.Finished() {
				t.Fatalf("request %d waits, and all up to %d are told to be finished", id, w.Finished())
			}
		}
	}
	if got := w.Requests(nil); len(got) != len(waiting) || !slices.IsSortedFunc(got, func(a, b Proposal) int { return cmp.Compare(a.ID(), b.ID()) }) {
		t.Errorf("%d requests are pending in order, want %d", len(got), len(waiting))
	}
}
