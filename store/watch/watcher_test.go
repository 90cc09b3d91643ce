package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"canopy/internal/rng"
	"canopy/store/tree"
)

// TestSlowWatcherLosesNothing checks K110, R58 and R59: a watcher that falls behind goes on from history, and gets each event
// once.
func TestSlowWatcherLosesNothing(t *testing.T) {
	s := newSource(Limits{WatchQueue: 4})
	w := watching(t, s, "/k", Options{Stream: true})
	var want []string
	for i := range 600 {
		want = append(want, fmt.Sprint(s.put("/k", fmt.Sprint(i)).Index()))
	}
	if len(w.queue) != 4 {
		t.Errorf("%d events queued", len(w.queue))
	}
	if got := ready(t, w); got != strings.Join(want, " ") {
		t.Errorf("got %q", got)
	}
	e := s.put("/k", "live")
	if len(w.queue) != 1 || ready(t, w) != fmt.Sprint(e.Index()) {
		t.Error("the watcher is not live again")
	}
}

// TestSlowWatcherHoldsFewBytes: a queue is bounded in bytes, even if it has few events.
func TestSlowWatcherHoldsFewBytes(t *testing.T) {
	s := newSource(Limits{HistoryBytes: 100 << 20})
	w := watching(t, s, "/k", Options{Stream: true})
	for i := range 20 {
		s.put("/k", strings.Repeat("v", 400<<10))
		if w.bytes > 3<<20 {
			t.Fatalf("%d bytes queued after %d events", w.bytes, i+1)
		}
	}
	if got := ready(t, w); len(strings.Fields(got)) != 20 || w.bytes != 0 {
		t.Errorf("got %q, %d bytes left", got, w.bytes)
	}
}

// allowance is a budget.
type allowance struct{ left, given atomic.Int64 }

func (a *allowance) Try(n int64) bool {
	if a.left.Add(-n) >= 0 {
		return true
	}
	a.left.Add(n)
	return false
}

func (a *allowance) Give(n int64) { a.left.Add(n); a.given.Add(n) }

// TestWatchersShareABudget: many watchers that do not read keep no more memory than their budget, get all events in the end,
// and give all memory back. A watcher that waits is woken even if there is no memory for its queue.
func TestWatchersShareABudget(t *testing.T) {
	var budget allowance
	const room = 1 << 20
	budget.left.Store(room)
	s := newSource(Limits{Memory: &budget})
	waiting := watching(t, s, "/k", Options{Stream: true})
	got := make(chan *Event, 100)
	go func() {
		for range cap(got) {
			if e, err := waiting.Next(t.Context()); err == nil {
				got <- e
			}
		}
	}()
	var lagging []*Watcher
	for range 50 {
		lagging = append(lagging, watching(t, s, "/k", Options{Stream: true}))
	}
	var want []string
	for range cap(got) {
		e := s.put("/k", strings.Repeat("v", 40<<10))
		want = append(want, fmt.Sprint(e.Index()))
		if next := <-got; next != e {
			t.Fatalf("the watcher that waits got event %d, want %d", next.Index(), e.Index())
		}
	}
	sum := 0
	for _, w := range lagging {
		sum += w.bytes
	}
	if most := room + len(lagging)*queueFreeBytes; sum > most || sum < room/2 {
		t.Errorf("watchers that lag keep %d bytes, want at most %d", sum, most)
	}
	for n, w := range lagging {
		if n%2 == 0 {
			w.Close()
		} else if got := ready(t, w); got != strings.Join(want, " ") {
			t.Errorf("a watcher got %q", got)
		}
	}
	if left := budget.left.Load(); left != room {
		t.Errorf("%d bytes of the budget are left, want %d", left, room)
	}
}

// TestStopEndsWatchersThatAreBehind: a watcher that is behind is not in the hub, and must not become live after Close.
func TestStopEndsWatchersThatAreBehind(t *testing.T) {
	s := newSource(Limits{WatchQueue: 1})
	w := watching(t, s, "/k", Options{Stream: true})
	s.put("/k", "1")
	s.put("/k", "2")
	stopped := errors.New("stopped")
	s.hub.Close(stopped)
	if got := ready(t, w); got != "1" {
		t.Errorf("got %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *EndedError
	if !errors.As(err, &ended) || !errors.Is(err, stopped) || ended.Next != 2 {
		t.Errorf("ended with %v", err)
	}
}

// TestQueueIsUsedAgain keeps a few events in a queue while events come and go: its memory must not grow.
func TestQueueIsUsedAgain(t *testing.T) {
	s := newSource(Limits{})
	w := watching(t, s, "/k", Options{Stream: true})
	for range 3 {
		s.put("/k", "")
	}
	for i := range 1000 {
		s.put("/k", "")
		if e, err := w.Next(context.Background()); err != nil || e.Index() != tree.Index(i+1) {
			t.Fatalf("event %v, %v, want %d", e, err, i+1)
		}
	}
	if cap(w.queue) > 16 {
		t.Errorf("the queue has grown to %d", cap(w.queue))
	}
}

// TestClosing checks K112, K126, R66 and R67: closed watchers leave no memory behind, and others go on.
func TestClosing(t *testing.T) {
	s := newSource(Limits{})
	for range 2 {
		var all []*Watcher
		for i := range 2000 {
			all = append(all, watching(t, s, fmt.Sprintf("/a/%d/c", i%700), Options{Stream: i%2 == 0, Recursive: i%3 == 0}))
		}
		if n := s.hub.Watchers(); n != 2000 {
			t.Errorf("%d watchers", n)
		}
		for _, w := range all {
			w.Close()
			w.Close()
		}
		if n := s.hub.Watchers(); n != 0 || s.hub.root.count() != 0 {
			t.Errorf("%d watchers, %d watch nodes left", n, s.hub.root.count())
		}
	}
	w := watching(t, s, "/a/1/c", Options{Stream: true})
	s.put("/a/1/c", "")
	if got := ready(t, w); got != "1" {
		t.Errorf("a new watcher got %q", got)
	}
	s.put("/a/1/c", "")
	stopped := errors.New("stopped")
	s.hub.Close(stopped)
	if got := ready(t, w); got != "2" {
		t.Errorf("queued at the stop: %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *EndedError
	if !errors.As(err, &ended) || !errors.Is(err, stopped) || ended.Next != 3 {
		t.Errorf("ended with %v", err)
	}
	if _, err := s.hub.Watch("", Options{}); !errors.Is(err, stopped) {
		t.Errorf("watch after the stop: %v", err)
	}
}

// TestNextWaits checks that Next wakes for an event, for a close and for its context, and can be called again.
func TestNextWaits(t *testing.T) {
	s := newSource(Limits{})
	w := watching(t, s, "/k", Options{Stream: true})
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error)
	next := func(ctx context.Context) { _, err := w.Next(ctx); results <- err }
	for _, c := range []struct {
		wake func()
		want error
	}{{func() { s.put("/k", "") }, nil}, {cancel, context.Canceled}} {
		go next(ctx)
		untilWaiting(w)
		c.wake()
		if err := <-results; !errors.Is(err, c.want) {
			t.Errorf("Next = %v, want %v", err, c.want)
		}
	}
	go next(context.Background())
	untilWaiting(w)
	w.Close()
	if err := <-results; !errors.Is(err, ErrClosed) {
		t.Errorf("Next = %v", err)
	}
}

// TestAllWhoWaitAreWoken checks R64 for more watchers than are woken at once: each of them waits for every event, and gets it
// although no other write follows.
func TestAllWhoWaitAreWoken(t *testing.T) {
	const events = 20
	s := newSource(Limits{})
	watchers := make([]*Watcher, 10*wakesAtOnce+1)
	for i := range watchers {
		watchers[i] = watching(t, s, "/k", Options{Stream: true})
	}
	for n := range events {
		var group sync.WaitGroup
		for _, w := range watchers {
			group.Go(func() {
				if e, err := w.Next(t.Context()); err != nil || e.Index() != tree.Index(n+1) {
					t.Errorf("event %d is %v, %v", n+1, e, err)
				}
			})
		}
		for _, w := range watchers {
			untilWaiting(w)
		}
		s.add("/k", "")
		s.publishOnly()
		turns := 1
		for s.events.Wake() {
			turns++
		}
		if most := len(watchers)/wakesAtOnce + 1; turns > most {
			t.Errorf("waking %d watchers took %d turns, want at most %d", len(watchers), turns, most)
		}
		group.Wait()
	}
}

// TestWhoIsToBeWokenIsListedOnce checks that a watcher that is due is listed once, and not kept afterwards.
func TestWhoIsToBeWokenIsListedOnce(t *testing.T) {
	s := newSource(Limits{})
	for range 2 * wakesAtOnce {
		w := watching(t, s, "/k", Options{Stream: true})
		go w.Next(t.Context())
		untilWaiting(w)
	}
	for range 100 {
		s.add("/k", "")
		s.publishOnly() // wakes a few each time
	}
	if n := len(s.hub.due) - s.hub.woken; n > 2*wakesAtOnce {
		t.Errorf("%d watchers are due", n)
	}
	for s.events.Wake() {
	}
	if cap(s.hub.due) > 4*wakesAtOnce || s.hub.woken != 0 {
		t.Errorf("room for %d is kept, from %d on", cap(s.hub.due), s.hub.woken)
	}
}

// untilWaiting returns when a Next is about to wait.
func untilWaiting(w *Watcher) {
	for {
		w.mu.Lock()
		waiting := w.waiting
		w.mu.Unlock()
		if waiting {
			return
		}
	}
}

// TestWatchersMissNothingWhileEventsFlow checks K91 and R64: 64 goroutines register, read slowly or fast, stop and
// resume while a writer publishes, and each sees every event once and in order.
func TestWatchersMissNothingWhileEventsFlow(t *testing.T) {
	const goroutines, keys, events = 64, 4, 10_000
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	s := newSource(Limits{WatchQueue: 8})
	var wg sync.WaitGroup
	var resumed atomic.Int64
	for i := range goroutines {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() { follow(t, s, fmt.Sprintf("/k%d", i%keys), events, keys, own, &resumed) })
	}
	for i := range events {
		s.add(fmt.Sprintf("/k%d", i%keys), "v")
		if rng.IntN(3) == 0 {
			s.publish()
		}
	}
	s.publish()
	wg.Wait()
	t.Logf("%d watches", resumed.Load())
	if n := s.hub.Watchers(); n != 0 || s.hub.root.count() != 0 {
		t.Errorf("%d watchers left", n)
	}
}

// follow sees all events of one of the keys, in as many watches as it takes.
func follow(t *testing.T, s *source, key string, last, step tree.Index, rng *rand.Rand, watches *atomic.Int64) {
	var next tree.Index
	for next <= last-step {
		w, err := s.hub.Watch(key, Options{Stream: rng.IntN(4) > 0, Since: max(next, 1)})
		watches.Add(1)
		if err != nil {
			t.Error(err)
			return
		}
		for range 1 + rng.IntN(300) {
			e, err := w.Next(context.Background())
			if errors.Is(err, ErrClosed) {
				break // it was one-shot
			}
			if err != nil || next != 0 && e.Index() != next {
				t.Errorf("%s: %v, %v instead of %d", key, err, e, next)
				return
			}
			if next = e.Index() + step; next > last {
				break
			}
		}
		w.Close()
	}
}

// TestMemoryPerWatcher checks that an idle watcher takes at most 600 bytes alone on its key, and 400 among others. This
// includes what a Next that waits needs, except its goroutine.
func TestMemoryPerWatcher(t *testing.T) {
	const count = 10_000
	for _, c := range []struct {
		name string
		keys int
		most float64
	}{{"one key", 1, 400}, {"a key each", count, 600}} {
		s := newSource(Limits{})
		all := make([]*Watcher, count)
		before := heapOf()
		for i := range all {
			w, err := s.hub.Watch(fmt.Sprintf("/watched/key%d", i%c.keys), Options{Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			all[i] = w
			all[i].wake = make(chan struct{}, 1)
		}
		per := float64(heapOf()-before) / count
		t.Logf("%s: %.0f bytes a watcher", c.name, per)
		if per > c.most {
			t.Errorf("%s: %.0f bytes a watcher, want at most %.0f", c.name, per, c.most)
		}
		runtime.KeepAlive(all)
		for _, w := range all {
			w.Close()
		}
	}
}

// TestArmCallsOnce: an owner without a goroutine is told of an event, of the end, and of neither twice.
func TestArmCallsOnce(t *testing.T) {
	s := newSource(Limits{})
	w := watching(t, s, "/k", Options{Stream: true})
	calls := 0
	arm := func() bool { return w.Arm(func() { calls++ }) }
	if !arm() {
		t.Fatal("there is an event")
	}
	s.put("/k", "1")
	s.put("/k", "2")
	if calls != 1 || arm() {
		t.Errorf("%d calls after two events, want 1", calls)
	}
	if got := len(strings.Fields(ready(t, w))); got != 2 {
		t.Errorf("%d events, want 2", got)
	}
	if !arm() {
		t.Error("all events were taken")
	}
	w.Close()
	if w.Close(); calls != 2 || arm() {
		t.Errorf("%d calls after the end, want 2", calls)
	}
}
