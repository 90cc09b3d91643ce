package lock

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

var rounds = flag.Int("rounds", 50, "how often the lock is taken in the race")

const patience = time.Minute

func newClient(t *testing.T, urls []string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: urls})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// awaitQueue waits until so many wait for the lock or hold it.
func awaitQueue(t *testing.T, c *client.Client, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		found, err := c.Get(t.Context(), "/lock", client.GetOptions{})
		if err == nil && len(found.Node.Nodes) == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there are not %d in the queue: %v", n, err)
		}
	}
}

// guarded is what the lock protects. It refuses a token that is lower than one that it has seen.
type guarded struct {
	mu      sync.Mutex
	highest uint64
	refused int
}

func (g *guarded) accept(token uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token < g.highest {
		g.refused++
		return false
	}
	g.highest = token
	return true
}

// Holders race for a lock of three members, while some of them die without a release, some go on after their time is over, and
// the leader changes. Never do two work at once whose tokens a check would accept both, and nobody waits in vain.
func TestHoldersRace(t *testing.T) {
	cluster := membertest.Start(t, 3)
	const holders = 8
	var work guarded
	var working, taken, overlaps atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	hold := func(c *client.Client, n int) error {
		l, err := Acquire(ctx, c, "/lock", Options{TTL: 2 * time.Second})
		if err != nil {
			return err
		}
		if working.Add(1) > 1 {
			overlaps.Add(1) // allowed only for one whose time is over
		}
		first := work.accept(l.Token())
		working.Add(-1)
		switch {
		case n%25 == 7: // dies: nobody refreshes any more
			l.stop()
			l.stopped.Wait()
			return nil
		case n%25 == 17: // is paused for longer than the TTL, and goes on without a look
			l.stop()
			l.stopped.Wait()
			next, err := Acquire(ctx, c, "/lock", Options{TTL: 2 * time.Second})
			if err != nil {
				return err
			}
			work.accept(next.Token())
			if first && work.accept(l.Token()) {
				return errors.New("work with an old token is accepted after that with a new one")
			}
			return next.Release(ctx)
		}
		return l.Release(ctx)
	}
	var all sync.WaitGroup
	errs := make([]error, holders)
	for i := range holders {
		c := newClient(t, cluster.ClientURLs())
		all.Go(func() {
			for errs[i] == nil {
				n := int(taken.Add(1))
				if n > *rounds {
					return
				}
				if n == *rounds/2 {
					cluster.Members[0].Stop()
					cluster.Members[0].Start()
				}
				errs[i] = hold(c, n)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if overlaps.Load() != 0 {
		t.Errorf("%d times two holders worked at once", overlaps.Load())
	}
}

// The next one gets the lock at once when it is released: one waiter wakes, in the order in which they came.
func TestWaitersComeInOrder(t *testing.T) {
	urls := membertest.Start(t, 1).ClientURLs()
	c := newClient(t, urls)
	first, err := Acquire(t.Context(), c, "/lock", Options{Value: "first"})
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 5
	order := make(chan int, waiters)
	var all sync.WaitGroup
	for n := range waiters {
		all.Go(func() {
			l, err := Acquire(t.Context(), c, "/lock", Options{Value: fmt.Sprint(n)})
			if err != nil {
				t.Error(err)
				return
			}
			order <- n
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
		awaitQueue(t, c, n+2)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for n := range waiters {
		if got := <-order; got != n {
			t.Errorf("the lock goes to %d, want %d", got, n)
		}
	}
}

// A holder learns that the lock is lost: when its key is deleted, and when the cluster is gone for as long as the TTL.
func TestALostLockIsTold(t *testing.T) {
	cluster := membertest.Start(t, 1)
	c := newClient(t, cluster.ClientURLs())
	lost := func(l *Lock, what string) {
		t.Helper()
		select {
		case <-l.Lost():
		case <-time.After(patience):
			t.Errorf("%s: the holder does not learn it", what)
		}
	}
	l, err := Acquire(t.Context(), c, "/lock", Options{TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(t.Context(), l.Key(), client.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	lost(l, "the key is deleted")
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release of a lost lock: %v", err)
	}
	if l, err = Acquire(t.Context(), c, "/lock", Options{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	cluster.Members[0].Stop()
	lost(l, "the cluster is gone")
	if err := l.Release(t.Context()); err == nil {
		t.Error("the release of a lock of a cluster that is gone succeeds")
	}
}

// A member that accepts connections and is silent does not cost the lock: the next refresh goes to another one.
func TestASilentMemberCostsNoLock(t *testing.T) {
	cluster := membertest.Start(t, 1)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := newClient(t, cluster.ClientURLs())
	const ttl = 8 * time.Second
	l, err := Acquire(t.Context(), c, "/lock", Options{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	// From here on the silent one is asked first.
	if err := c.SetEndpoints([]string{"http://" + silent.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetEndpoints([]string{"http://" + silent.Addr().String(), cluster.Members[0].ClientURL}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.Lost():
		t.Error("the lock is lost")
	case <-time.After(2 * ttl):
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who gives up leaves no key behind, which others would wait for.
func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	c := newClient(t, membertest.Start(t, 1).ClientURLs())
	held, err := Acquire(t.Context(), c, "/lock", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gaveUp := make(chan error, 1)
	go func() {
		_, err := Acquire(ctx, c, "/lock", Options{})
		gaveUp <- err
	}()
	awaitQueue(t, c, 2)
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire: %v", err)
	}
	found, err := c.Get(t.Context(), "/lock", client.GetOptions{})
	if err != nil || len(found.Node.Nodes) != 1 {
		t.Errorf("the queue has %+v, %v", found, err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Acquire(t.Context(), c, "/lock", Options{TTL: 1500 * time.Millisecond}); err == nil {
		t.Error("a TTL of a fraction of seconds is accepted")
	}
}
