package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"canopy/internal/rng"
)

// watching registers a watcher that is closed with the test.
func watching(t testing.TB, s *Store, key string, o WatchOptions) *Watcher {
	t.Helper()
	w, err := s.Watch(mustKey(key), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// publish does what a member does: it shows what was done, and wakes all who wait for it.
func publish(s *Store) {
	s.Publish()
	for s.Wake() {
	}
}

// ready returns the indexes of the events that can be had without waiting.
func ready(t testing.TB, w *Watcher) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got []string
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return strings.Join(got, " ")
		}
		got = append(got, fmt.Sprint(e.Index()))
	}
}

// TestWhichEventsMatch checks K97-K101 and K105 live, and the same watch from history, which differs only in K106d. The
// write under test has index 6 unless it is refused.
func TestWhichEventsMatch(t *testing.T) {
	before := []Command{file("/w/f", "1"), file("/w/d/a/b", "2"), file("/fd/_h", "3"), file("/_hd/k", "4"), file("/pfoo", "5")}
	for _, c := range []struct {
		rule      string
		write     Command
		watch     string
		recursive bool
		live      bool
		past      bool
	}{
		{"K97 its own key", file("/w/f", "n"), "/w/f", false, true, true},
		{"K97 a child does not fire", file("/w/f", "n"), "/w", false, false, false},
		{"K98 below", file("/w/f", "n"), "/w", true, true, true},
		{"K98 far below", file("/w/d/a/b", "n"), "/w", true, true, true},
		{"K98 the root", file("/w/d/a/b", "n"), "/", true, true, true},
		{"K97 the root itself never changes", file("/w/f", "n"), "/", false, false, false},
		{"K98 P itself", file("/w/f", "n"), "/w/f", true, true, true},
		{"K98 component boundary", file("/w/foobar", "n"), "/w/f", true, false, false},
		{"R48 a sibling with the same beginning", file("/pf", "n"), "/pfoo", true, false, false},
		{"K99 a node that went with its directory", rmdir("/w/d"), "/w/d/a/b", false, true, true},
		{"K99 a directory that went", rmdir("/w/d"), "/w/d/a", true, true, true},
		{"K99 the directory itself", rmdir("/w/d"), "/w/d", false, true, true},
		{"K99 K106d a node that did not exist", rmdir("/w/d"), "/w/d/none", false, false, true},
		{"K99 K106d far below nothing", rmdir("/w/d"), "/w/d/a/b/c/d", true, false, true},
		{"K106c removal by component", Delete{Key: mustKey("/w/d"), Recursive: true}, "/w/dd", true, false, false},
		{"K100 implicit parents are silent", file("/np/x/y", "n"), "/np", false, false, false},
		{"K100 K104 the key itself does fire", file("/np/x/y", "n"), "/np/x/y", false, true, true},
		{"K101 a directory in place of a file", dir("/w/f"), "/w/f", false, true, true},
		{"K104 below a file", file("/w/f", "n"), "/w/f/x", false, false, false},
		{"K104 a file's removal is no directory's", Delete{Key: mustKey("/w/f")}, "/w/f/x", false, false, false},
		{"R72 another key", file("/other", "n"), "/missing", false, false, false},
		{"K105 hidden below", file("/h/_x/_y/z", "n"), "/h", true, false, false},
		{"K105 another hidden component below", file("/h/_x/_y/z", "n"), "/h/_x", true, false, false},
		{"K105 at the last hidden component", file("/h/_x/_y/z", "n"), "/h/_x/_y", true, true, true},
		{"K105 the hidden key itself", file("/h/_x", "n"), "/h/_x", false, true, true},
		{"K105 the hidden key itself, recursive", file("/h/_x", "n"), "/h/_x", true, true, true},
		{"K105 a hidden key from its directory", file("/h/_x", "n"), "/h", true, false, false},
		{"K105 underscore inside a name", file("/h/x_y", "n"), "/h", true, true, true},
		{"K105 removal of a hidden directory", rmdir("/_hd"), "/", true, false, false},
		{"K105 a hidden child of a removed directory", rmdir("/fd"), "/fd/_h", false, true, true},
		{"K102 a failed write", CompareAndSwap{Key: mustKey("/w/f"), PrevValue: "X"}, "/w/f", false, false, false},
		{"K102 a refresh", Set{Key: mustKey("/w/f"), Refresh: true, TTL: TTL{true, 9}}, "/w/f", false, false, false},
	} {
		s := New(Options{})
		must(t, s, before...)
		live := watching(t, s, c.watch, WatchOptions{Recursive: c.recursive, Stream: true})
		_ = try(s, testTime, c.write)
		publish(s)
		want := map[bool]string{true: "6", false: ""}
		if got := ready(t, live); got != want[c.live] {
			t.Errorf("%s: live watcher got %q", c.rule, got)
		}
		if s.View().Index() < 6 {
			continue // there is no index 6 to begin at
		}
		past := watching(t, s, c.watch, WatchOptions{Recursive: c.recursive, Stream: true, Since: 6})
		if got := ready(t, past); got != want[c.past] {
			t.Errorf("%s: watcher from history got %q", c.rule, got)
		}
		again := watching(t, reloaded(t, s), c.watch, WatchOptions{Recursive: c.recursive, Since: 6})
		if got := ready(t, again); got != want[c.past] {
			t.Errorf("%s: watcher after a reload got %q", c.rule, got)
		}
	}
}

// TestRemovalFindsWatchersBelow checks K99 with more watchers than nodes, and with more nodes than watchers.
func TestRemovalFindsWatchersBelow(t *testing.T) {
	for _, c := range []struct{ nodes, watchers int }{{3, 200}, {500, 5}} {
		s := New(Options{})
		for i := range c.nodes {
			must(t, s, file(fmt.Sprintf("/d/sub/n%03d", i), ""))
		}
		var all []*Watcher
		for i := range c.watchers {
			all = append(all, watching(t, s, fmt.Sprintf("/d/sub/n%03d", i), WatchOptions{}))
		}
		e := must(t, s, rmdir("/d"))
		for i, w := range all {
			want := ""
			if i < c.nodes {
				want = fmt.Sprint(e.Index())
			}
			if got := ready(t, w); got != want {
				t.Errorf("%d nodes: watcher %d got %q, want %q", c.nodes, i, got, want)
			}
		}
	}
}

// TestWhereAWatchBegins checks K93-K95, R61-R63: no index, past, present and future ones, and the edge of history.
func TestWhereAWatchBegins(t *testing.T) {
	for _, c := range []struct {
		since  Index
		stream bool
		first  string // at once
		then   string // after events 6, 7 and 8
	}{
		{0, false, "", "6"}, {0, true, "", "6 7 8"},
		{2, false, "2", ""}, {2, true, "2 3 4 5", "6 7 8"},
		{5, false, "5", ""}, {5, true, "5", "6 7 8"},
		{6, false, "", "6"}, {6, true, "", "6 7 8"},
		{8, false, "", "8"}, {8, true, "", "8"},
		{1<<64 - 1, false, "", ""}, {1<<64 - 1, true, "", ""},
	} {
		for _, recursive := range []bool{false, true} { // R61: a file may be watched recursively, too
			s := New(Options{HistoryEvents: 4})
			must(t, s, file("/k", "1"), file("/k", "2"), file("/k", "3"), file("/k", "4"), file("/k", "5"))
			w := watching(t, s, "/k", WatchOptions{Since: c.since, Stream: c.stream, Recursive: recursive})
			if w.StartIndex() != 5 {
				t.Errorf("start index %d", w.StartIndex())
			}
			if got := ready(t, w); got != c.first {
				t.Errorf("%+v: %q at once", c, got)
			}
			must(t, s, file("/k", "6"), file("/k", "7"), file("/k", "8"))
			if got := ready(t, w); got != c.then {
				t.Errorf("%+v: %q then", c, got)
			}
		}
	}
	s := New(Options{HistoryEvents: 4})
	must(t, s, file("/k", "1"), file("/k", "2"), file("/k", "3"), file("/k", "4"), file("/k", "5"))
	_, err := s.Watch(mustKey("/other"), WatchOptions{Since: 1})
	var e *Error
	if !errors.As(err, &e) || e.Code != 401 || e.Cause != "the requested history has been cleared [2/1]" || e.Index != 5 {
		t.Errorf("watch past the edge: %v", err)
	}
}

// TestRepeatedWatchGivesTheSame checks R62 and R69: watches from the past are repeatable, also as the first thing after
// a restart.
func TestRepeatedWatchGivesTheSame(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/d/k", "1"), rmdir("/d"), file("/x", ""))
	s = reloaded(t, s)
	for range 3 {
		if got := ready(t, watching(t, s, "/d/k", WatchOptions{Since: 2})); got != "2" {
			t.Errorf("got %q", got)
		}
	}
}

// TestRefreshesTakeNoHistory checks K69 and R49: a storm of refreshes pushes nothing out and is never seen.
func TestRefreshesTakeNoHistory(t *testing.T) {
	s := New(Options{HistoryEvents: 3})
	must(t, s, file("/a", "1"), file("/b", "2"))
	for range 1000 {
		must(t, s, Set{Key: mustKey("/a"), Refresh: true, TTL: TTL{true, 50}})
		s.Advance()
	}
	publish(s)
	if oldest, newest := s.HistoryRange(); oldest != 1 || newest != 2002 {
		t.Errorf("history %d-%d", oldest, newest)
	}
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	for range 100 {
		since := 1 + rng.Uint64N(2002)
		want := ""
		if since == 1 {
			want = "1"
		}
		if got := ready(t, watching(t, s, "/a", WatchOptions{Since: Index(since), Stream: true})); got != want {
			t.Errorf("from %d: %q", since, got)
		}
	}
}

// TestRemovalsComeOnce checks K108 and R60.
func TestRemovalsComeOnce(t *testing.T) {
	s := New(Options{})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	must(t, s, timed("/k", 0))
	s.Expire(testTime, 1)
	must(t, s, file("/k", "1"), CompareAndDelete{Key: mustKey("/k"), PrevValue: "1"}, file("/k", "2"), Delete{Key: mustKey("/k")})
	if got := ready(t, w); got != "1 2 3 4 5 6" {
		t.Errorf("got %q", got)
	}
}

// TestSlowWatcherLosesNothing checks K110, R58 and R59: who falls behind goes on from history, without gap or double.
func TestSlowWatcherLosesNothing(t *testing.T) {
	s := New(Options{WatchQueue: 4})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	var want []string
	for i := range 600 {
		want = append(want, fmt.Sprint(must(t, s, file("/k", fmt.Sprint(i))).Index()))
	}
	if len(w.queue) != 4 {
		t.Errorf("%d events queued", len(w.queue))
	}
	if got := ready(t, w); got != strings.Join(want, " ") {
		t.Errorf("got %q", got)
	}
	e := must(t, s, file("/k", "live"))
	if len(w.queue) != 1 || ready(t, w) != fmt.Sprint(e.Index()) {
		t.Error("the watcher is not live again")
	}
}

// TestSlowWatcherHoldsFewBytes: large events do not pile up in a queue, however few they are.
func TestSlowWatcherHoldsFewBytes(t *testing.T) {
	s := New(Options{HistoryBytes: 100 << 20})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	for i := range 20 {
		must(t, s, file("/k", strings.Repeat("v", 400<<10)))
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

// TestWatchersShareABudget: many that do not read keep no more alive than they may together, get everything in the end,
// and give all back. One that waits is woken though there is no room in its queue.
func TestWatchersShareABudget(t *testing.T) {
	var budget allowance
	const room = 1 << 20
	budget.left.Store(room)
	s := New(Options{Memory: &budget})
	waiting := watching(t, s, "/k", WatchOptions{Stream: true})
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
		lagging = append(lagging, watching(t, s, "/k", WatchOptions{Stream: true}))
	}
	var want []string
	for range cap(got) {
		e := must(t, s, file("/k", strings.Repeat("v", 40<<10)))
		want = append(want, fmt.Sprint(e.Index()))
		publish(s)
		if next := <-got; next != e {
			t.Fatalf("who waits got event %d, want %d", next.Index(), e.Index())
		}
	}
	sum := 0
	for _, w := range lagging {
		sum += w.bytes
	}
	if most := room + len(lagging)*queueFreeBytes; sum > most || sum < room/2 {
		t.Errorf("those that lag keep %d bytes, want at most %d", sum, most)
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

// TestLostWatcherEnds checks that a watcher ends clearly, after what it had, once history has gone past it.
func TestLostWatcherEnds(t *testing.T) {
	s := New(Options{WatchQueue: 2, HistoryEvents: 3})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	for range 10 {
		must(t, s, file("/k", ""))
	}
	if got := ready(t, w); got != "1 2" {
		t.Errorf("got %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *ErrWatchEnded
	if !errors.As(err, &ended) || !errors.Is(err, ErrHistoryLost) || ended.Next != 3 {
		t.Errorf("ended with %v", err)
	}
}

// TestReplaceKeepsWatchers checks K114 and R65: an installed snapshot gives watchers what they missed, or ends them.
func TestReplaceKeepsWatchers(t *testing.T) {
	options := Options{HistoryEvents: 5}
	follower, leader := New(options), New(options)
	must(t, follower, file("/k", "1"))
	must(t, leader, file("/k", "1"))
	waiting := watching(t, follower, "/k", WatchOptions{})
	stream := watching(t, follower, "/k", WatchOptions{Stream: true})
	other := watching(t, follower, "/other", WatchOptions{Stream: true})
	future := watching(t, follower, "/k", WatchOptions{Stream: true, Since: 20})

	must(t, leader, file("/k", "2"), file("/x", "3"), file("/k", "4"))
	follower.Replace(reloaded(t, leader))
	if got := ready(t, waiting) + ", " + ready(t, stream) + ", " + ready(t, other); got != "2, 2 4, " {
		t.Errorf("after the first snapshot: %s", got)
	}
	for range 10 {
		must(t, leader, file("/k", "n"))
	}
	follower.Replace(reloaded(t, leader))
	if got := ready(t, stream) + ready(t, other); got != "" {
		t.Errorf("after the second snapshot: %s", got)
	}
	for _, w := range []*Watcher{stream, other} {
		_, err := w.Next(context.Background())
		var ended *ErrWatchEnded
		if !errors.As(err, &ended) || ended.Cause != ErrHistoryLost || ended.Next != 5 {
			t.Errorf("%s ended with %v", w.key, err)
		}
	}
	for range 10 {
		must(t, follower, file("/k", "n"))
	}
	if got := ready(t, future); got != "20 21 22 23 24" {
		t.Errorf("from the future: %s", got)
	}
	if got := treeOf(t, follower); !strings.Contains(got, `"modifiedIndex":24`) {
		t.Errorf("tree %s", got)
	}
}

// TestReplaceTellsOfRemovedDirectories: of a removal inside a snapshot nobody knows what went, so all below hear of it, as
// from history (K106d).
func TestReplaceTellsOfRemovedDirectories(t *testing.T) {
	follower, leader := New(Options{}), New(Options{})
	for _, s := range []*Store{follower, leader} {
		must(t, s, file("/d/a/k", ""), file("/other", ""))
	}
	var below []*Watcher
	for _, key := range []string{"/d/a/k", "/d/b", "/d/a/k/x", "/d"} {
		below = append(below, watching(t, follower, key, WatchOptions{}))
	}
	beside := watching(t, follower, "/dd", WatchOptions{})
	must(t, leader, rmdir("/d"))
	follower.Replace(reloaded(t, leader))
	for _, w := range below {
		if got := ready(t, w); got != "3" {
			t.Errorf("%s got %q", w.key, got)
		}
	}
	if got := ready(t, beside); got != "" {
		t.Errorf("/dd got %q", got)
	}
}

// TestStopEndsWatchersThatAreBehind: they are not in the hub, but must not become live after it was closed.
func TestStopEndsWatchersThatAreBehind(t *testing.T) {
	s := New(Options{WatchQueue: 1})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	must(t, s, file("/k", "1"), file("/k", "2"))
	stopped := errors.New("stopped")
	s.CloseWatchers(stopped)
	if got := ready(t, w); got != "1" {
		t.Errorf("got %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *ErrWatchEnded
	if !errors.As(err, &ended) || !errors.Is(err, stopped) || ended.Next != 2 {
		t.Errorf("ended with %v", err)
	}
}

// TestQueueIsUsedAgain reads one event for each that comes, behind by a few: the queue must not grow.
func TestQueueIsUsedAgain(t *testing.T) {
	s := New(Options{})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	must(t, s, file("/k", ""), file("/k", ""), file("/k", ""))
	for i := range 1000 {
		must(t, s, file("/k", ""))
		if e, err := w.Next(context.Background()); err != nil || e.Index() != Index(i+1) {
			t.Fatalf("event %v, %v, want %d", e, err, i+1)
		}
	}
	if cap(w.queue) > 16 {
		t.Errorf("the queue has grown to %d", cap(w.queue))
	}
}

// TestClosing checks K112, K126, R66 and R67: closed watchers leave nothing behind, and others go on.
func TestClosing(t *testing.T) {
	s := New(Options{})
	for range 2 {
		var all []*Watcher
		for i := range 2000 {
			all = append(all, watching(t, s, fmt.Sprintf("/a/%d/c", i%700), WatchOptions{Stream: i%2 == 0, Recursive: i%3 == 0}))
		}
		if n := s.Watchers(); n != 2000 {
			t.Errorf("%d watchers", n)
		}
		for _, w := range all {
			w.Close()
			w.Close()
		}
		if n := s.Watchers(); n != 0 || s.hub.root.count() != 0 {
			t.Errorf("%d watchers, %d places left", n, s.hub.root.count())
		}
	}
	w := watching(t, s, "/a/1/c", WatchOptions{Stream: true})
	must(t, s, file("/a/1/c", ""))
	if got := ready(t, w); got != "1" {
		t.Errorf("a new watcher got %q", got)
	}
	must(t, s, file("/a/1/c", ""))
	stopped := errors.New("stopped")
	s.CloseWatchers(stopped)
	if got := ready(t, w); got != "2" {
		t.Errorf("queued at the stop: %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *ErrWatchEnded
	if !errors.As(err, &ended) || !errors.Is(err, stopped) || ended.Next != 3 {
		t.Errorf("ended with %v", err)
	}
	if _, err := s.Watch(Key{}, WatchOptions{}); !errors.Is(err, stopped) {
		t.Errorf("watch after the stop: %v", err)
	}
}

// TestNextWaits checks that Next wakes for an event, for a close and for its context, and can be called again.
func TestNextWaits(t *testing.T) {
	s := New(Options{})
	w := watching(t, s, "/k", WatchOptions{Stream: true})
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error)
	next := func(ctx context.Context) { _, err := w.Next(ctx); results <- err }
	for _, c := range []struct {
		wake func()
		want error
	}{{func() { must(t, s, file("/k", "")) }, nil}, {cancel, context.Canceled}} {
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
	if err := <-results; !errors.Is(err, ErrWatcherClosed) {
		t.Errorf("Next = %v", err)
	}
}

// TestAllWhoWaitAreWoken checks R64 for more watchers than are woken at once: each waits before every event, and gets
// it though nothing is written after it.
func TestAllWhoWaitAreWoken(t *testing.T) {
	const events = 20
	s := New(Options{})
	watchers := make([]*Watcher, 10*wakesAtOnce+1)
	for i := range watchers {
		watchers[i] = watching(t, s, "/k", WatchOptions{Stream: true})
	}
	for n := range events {
		var group sync.WaitGroup
		for _, w := range watchers {
			group.Go(func() {
				if e, err := w.Next(t.Context()); err != nil || e.Index() != Index(n+1) {
					t.Errorf("event %d is %v, %v", n+1, e, err)
				}
			})
		}
		for _, w := range watchers {
			untilWaiting(w)
		}
		if _, err := s.Apply(testTime, file("/k", "")); err != nil {
			t.Fatal(err)
		}
		s.Publish()
		turns := 1
		for s.Wake() {
			turns++
		}
		if most := len(watchers)/wakesAtOnce + 1; turns > most {
			t.Errorf("waking %d watchers took %d turns, want at most %d", len(watchers), turns, most)
		}
		group.Wait()
	}
}

// TestWhoIsToBeWokenIsListedOnce checks that who is to be woken is listed once, and forgotten afterwards.
func TestWhoIsToBeWokenIsListedOnce(t *testing.T) {
	s := New(Options{})
	for range 2 * wakesAtOnce {
		w := watching(t, s, "/k", WatchOptions{Stream: true})
		go w.Next(t.Context())
		untilWaiting(w)
	}
	for range 100 {
		if _, err := s.Apply(testTime, file("/k", "")); err != nil {
			t.Fatal(err)
		}
		s.Publish() // wakes a few each time
	}
	if n := len(s.hub.due) - s.hub.woken; n > 2*wakesAtOnce {
		t.Errorf("%d are to be woken", n)
	}
	for s.Wake() {
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
	const goroutines, keys = 64, 4
	events := 20_000
	if raceEnabled {
		events = 4000
	}
	rng := rand.New(rand.NewPCG(rng.Seed(t), 0))
	s := New(Options{WatchQueue: 8})
	var wg sync.WaitGroup
	var resumed atomic.Int64
	for i := range goroutines {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() { follow(t, s, fmt.Sprintf("/k%d", i%keys), Index(events), keys, own, &resumed) })
	}
	for i := range events {
		if _, err := s.Apply(testTime, file(fmt.Sprintf("/k%d", i%keys), "v")); err != nil {
			t.Error(err)
		}
		if rng.IntN(3) == 0 {
			publish(s)
		}
	}
	publish(s)
	wg.Wait()
	t.Logf("%d watches", resumed.Load())
	if n := s.Watchers(); n != 0 || s.hub.root.count() != 0 {
		t.Errorf("%d watchers left", n)
	}
}

// follow sees all events of one of the keys, in as many watches as it takes.
func follow(t *testing.T, s *Store, key string, last Index, step Index, rng *rand.Rand, watches *atomic.Int64) {
	var next Index
	for next <= last-step {
		w, err := s.Watch(mustKey(key), WatchOptions{Stream: rng.IntN(4) > 0, Since: max(next, 1)})
		watches.Add(1)
		if err != nil {
			t.Error(err)
			return
		}
		for range 1 + rng.IntN(300) {
			e, err := w.Next(context.Background())
			if errors.Is(err, ErrWatcherClosed) {
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

// TestAnOldWatchStillFires leaves a watcher alone for two months of log time, while history goes on many times its
// length (R71).
func TestAnOldWatchStillFires(t *testing.T) {
	s := New(Options{HistoryEvents: 100})
	old := watching(t, s, "/rare", WatchOptions{})
	at := testTime
	for n := range 1_000_000 {
		at += Time(60*24*3600*Second) / 1_000_000
		if _, err := s.Apply(at, Set{Key: mustKey("/busy"), Value: "v"}); err != nil {
			t.Fatal(err)
		}
		if n%100 == 0 {
			publish(s)
		}
	}
	publish(s)
	if got := ready(t, old); got != "" {
		t.Fatalf("got %s before anything was written there", got)
	}
	must(t, s, file("/rare", "v"))
	publish(s)
	if got := ready(t, old); got != "1000001" {
		t.Errorf("got %q, want the event 1000001", got)
	}
}
