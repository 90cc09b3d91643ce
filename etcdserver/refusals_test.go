package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/etcdserver/raftloop"
	"canopy/store"
	"canopy/store/watch"
)

// Each state in which a member refuses work ends by itself when its cause ends, and
// what leads out of it works for as long as it lasts.

// alone stops all members but the leader, which is returned, with the names of the others.
func (c *testCluster) alone() (left *running, gone []string) {
	c.t.Helper()
	left = c.leader()
	for _, m := range c.others(left) {
		c.forget(m)
		m.halt()
		gone = append(gone, m.Name())
	}
	return left, gone
}

// TestNoQuorumEndsByItself: local reads and watches go on, and /health gives the reason. A
// write and a read that wait when a member comes back are done, whatever has timed out
// before, and the dead one can be removed.
func TestNoQuorumEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		index := c.leader().set("/k", "1").Event.Index()
		left, gone := c.alone()
		for range 20 {
			refusedWithoutQuorum(t, left)
			if view, err := left.Read(t.Context(), false); err != nil || valueAt(t, view, "/k") != "1" {
				t.Fatalf("a local read: %v", err)
			}
			w, err := left.Watch(mustKey(t, "/k"), watch.Options{Since: index})
			if err != nil {
				t.Fatalf("a watch: %v", err)
			}
			if e, err := w.Next(t.Context()); err != nil || e.Index() != index {
				t.Fatalf("a watch of the past gives %v, %v", e, err)
			}
			w.Close()
			var unhealthy *UnhealthyError
			if err := left.Health(t.Context()); !errors.As(err, &unhealthy) || !strings.Contains(err.Error(), "1 of 3 members reachable") {
				t.Fatalf("health = %v", err)
			}
		}

		done := make(chan error, 2)
		go func() {
			_, err := left.Do(t.Context(), store.Set{Key: mustKey(t, "/held"), Value: "1"})
			done <- err
		}()
		go func() {
			_, err := left.Read(t.Context(), true)
			done <- err
		}()
		<-time.After(time.Second)
		c.awaitReady(c.launch(gone[0], Bootstrap{}))
		for range cap(done) {
			if err := <-done; err != nil {
				t.Errorf("a request that waited for the quorum: %v", err)
			}
		}
		left.mustHold("/held", "1")
		for _, m := range left.Members() {
			if m.Name == gone[1] {
				if err := left.RemoveMember(t.Context(), m.ID); err != nil {
					t.Errorf("removing the dead member: %v", err)
				}
			}
		}
		eventually(t, "health", func() bool { return left.Health(t.Context()) == nil })
		c.agree()
	})
}

// refusedWithoutQuorum has many ask for what needs one. All are told so in time.
func refusedWithoutQuorum(t *testing.T, m *running) {
	t.Helper()
	var clients sync.WaitGroup
	defer clients.Wait()
	for range raftloop.HeldMax / 16 {
		clients.Go(func() {
			if _, err := m.Read(t.Context(), true); !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrTooBusy) {
				t.Errorf("a linearizable read without a quorum: %v", err)
			}
		})
	}
	clients.Go(func() {
		if _, err := m.Do(t.Context(), store.Set{Key: mustKey(t, "/k"), Value: "2"}); !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrTimeoutLeaderFail) {
			t.Errorf("a write without a quorum: %v", err)
		}
	})
	clients.Go(func() {
		if err := m.UpdateMember(t.Context(), m.ID(), []string{"http://m0:2380"}); !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrTimeoutLeaderFail) {
			t.Errorf("an update of a member without a quorum: %v", err)
		}
	})
}

// TestTooManyWaitersEndByThemselves: what waits without a quorum is bounded; reads, deletes,
// changes of members and a stop have room beyond that. All ends with its time-out, or when
// there is a quorum.
func TestTooManyWaitersEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.WaitingBytes = 64 << 10 })
		c.leader().set("/k", "1")
		left, gone := c.alone()
		for range 3 { // time-outs make room
			busy := crowd(t, left)
			if err := <-busy; !errors.Is(err, ErrTooBusy) {
				t.Fatalf("the first write that is answered: %v, want %v", err, ErrTooBusy)
			}
			for range cap(busy) - 1 {
				<-busy
			}
		}
		busy := crowd(t, left)
		if err := <-busy; !errors.Is(err, ErrTooBusy) {
			t.Fatalf("the first write that is answered: %v, want %v", err, ErrTooBusy)
		}
		synctest.Wait()
		if view, err := left.Read(t.Context(), false); err != nil || valueAt(t, view, "/k") != "1" {
			t.Errorf("a local read: %v", err)
		}
		done := make(chan error, 2)
		go func() {
			_, err := left.Do(t.Context(), store.Delete{Key: mustKey(t, "/k"+strings.Repeat("x", 500))})
			if missing := (*store.Error)(nil); errors.As(err, &missing) {
				err = nil // the answer of the store
			}
			done <- err
		}()
		go func() { done <- left.UpdateMember(t.Context(), left.ID(), []string{"http://m0:2380"}) }()
		c.awaitReady(c.launch(gone[0], Bootstrap{}))
		for range cap(done) {
			if err := <-done; err != nil {
				t.Errorf("a delete or a change of members beside too many writes: %v", err)
			}
		}
		for range cap(busy) - 1 {
			if err := <-busy; err != nil && !errors.Is(err, ErrTooBusy) {
				t.Errorf("a write that waited: %v", err)
			}
		}
		left.set("/after", "1")
		left, _ = c.alone()
		crowd(t, left)
		synctest.Wait()
		left.halt()
	})
}

// crowd has many write at once. Each outcome is told.
func crowd(t *testing.T, m *running) chan error {
	outcomes := make(chan error, 3000)
	for n := range cap(outcomes) {
		go func() {
			_, err := m.Do(context.Background(), store.Set{Key: mustKey(t, fmt.Sprintf("/crowd/%d", n)), Value: "x"})
			outcomes <- err
		}()
	}
	return outcomes
}
