package etcdserver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Each request gets the outcome of its own id, however waiters are used again.
func TestWaitersGetTheirOwnOutcome(t *testing.T) {
	w := newWaiters()
	var all sync.WaitGroup
	for id := range uint64(5000) {
		all.Go(func() {
			r, running := w.register(id)
			if !running {
				t.Error("not running")
				return
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go w.finish(id, outcome{applied: Applied{RaftIndex: id}})
			if id%3 == 0 {
				cancel()
			}
			applied, err := w.wait(ctx, id, r)
			if err == nil && applied.RaftIndex != id || err != nil && id%3 != 0 {
				t.Errorf("request %d got the outcome of %d, %v", id, applied.RaftIndex, err)
			}
		})
	}
	all.Wait()
}

// A request that waits longer than the limit is told why, and one that comes
// after the end is told at once (K121, K126).
func TestWaitersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters()
		old, _ := w.register(1)
		time.Sleep(time.Minute)
		young, _ := w.register(2)
		if n := w.sweep(time.Now().Add(-time.Second), func(time.Time) error { return ErrTimeout }); n != 1 {
			t.Errorf("%d requests wait after the sweep, want 1", n)
		}
		if _, err := w.wait(t.Context(), 1, old); !errors.Is(err, ErrTimeout) {
			t.Errorf("the old request got %v, want %v", err, ErrTimeout)
		}
		w.close()
		if _, err := w.wait(context.Background(), 2, young); !errors.Is(err, ErrStopped) {
			t.Errorf("the young request got %v, want %v", err, ErrStopped)
		}
		if _, running := w.register(3); running {
			t.Error("a request was taken after the end")
		}
	})
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
