package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store/watch"
)

// watching registers a watcher that is closed with the test.
func watching(t testing.TB, s *Store, key string, o watch.Options) *watch.Watcher {
	t.Helper()
	w, err := s.Watch(mustKey(key), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// publish does what a member does: it publishes, and wakes all watchers that wait.
func publish(s *Store) {
	s.Publish()
	for s.Wake() {
	}
}

// ready returns the indexes of the events that can be had without waiting.
func ready(t testing.TB, w *watch.Watcher) string {
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

// TestWhichEventsMatch checks K97-K101 and K105 for live watchers, and for the same watch from history, which differs only in
// K106d. The write has index 6 unless it is refused.
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
		live := watching(t, s, c.watch, watch.Options{Recursive: c.recursive, Stream: true})
		_ = try(s, testTime, c.write)
		publish(s)
		want := map[bool]string{true: "6", false: ""}
		if got := ready(t, live); got != want[c.live] {
			t.Errorf("%s: live watcher got %q", c.rule, got)
		}
		if s.View().Index() < 6 {
			continue // there is no index 6 to begin at
		}
		past := watching(t, s, c.watch, watch.Options{Recursive: c.recursive, Stream: true, Since: 6})
		if got := ready(t, past); got != want[c.past] {
			t.Errorf("%s: watcher from history got %q", c.rule, got)
		}
		again := watching(t, reloaded(t, s), c.watch, watch.Options{Recursive: c.recursive, Since: 6})
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
		var all []*watch.Watcher
		for i := range c.watchers {
			all = append(all, watching(t, s, fmt.Sprintf("/d/sub/n%03d", i), watch.Options{}))
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
			w := watching(t, s, "/k", watch.Options{Since: c.since, Stream: c.stream, Recursive: recursive})
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
	_, err := s.Watch(mustKey("/other"), watch.Options{Since: 1})
	var e *Error
	if !errors.As(err, &e) || e.Code != 401 || e.Cause != "the requested history has been cleared [2/1]" || e.Index != 5 {
		t.Errorf("watch past the edge: %v", err)
	}
}

// TestRepeatedWatchGivesTheSame checks R62 and R69: a watch from the past can be repeated, and can be the first request
// after a restart.
func TestRepeatedWatchGivesTheSame(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/d/k", "1"), rmdir("/d"), file("/x", ""))
	s = reloaded(t, s)
	for range 3 {
		if got := ready(t, watching(t, s, "/d/k", watch.Options{Since: 2})); got != "2" {
			t.Errorf("got %q", got)
		}
	}
}

// TestRefreshesTakeNoHistory checks K69 and R49: many refreshes push no event out of the history, and nobody sees them.
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
		if got := ready(t, watching(t, s, "/a", watch.Options{Since: Index(since), Stream: true})); got != want {
			t.Errorf("from %d: %q", since, got)
		}
	}
}

// TestRemovalsComeOnce checks K108 and R60.
func TestRemovalsComeOnce(t *testing.T) {
	s := New(Options{})
	w := watching(t, s, "/k", watch.Options{Stream: true})
	must(t, s, timed("/k", 0))
	s.Expire(testTime, 1)
	must(t, s, file("/k", "1"), CompareAndDelete{Key: mustKey("/k"), PrevValue: "1"}, file("/k", "2"), Delete{Key: mustKey("/k")})
	if got := ready(t, w); got != "1 2 3 4 5 6" {
		t.Errorf("got %q", got)
	}
}

// TestLostWatcherEnds checks that a watcher ends with an error, after its queue, if the history has dropped its next event.
func TestLostWatcherEnds(t *testing.T) {
	s := New(Options{WatchQueue: 2, HistoryEvents: 3})
	w := watching(t, s, "/k", watch.Options{Stream: true})
	for range 10 {
		must(t, s, file("/k", ""))
	}
	if got := ready(t, w); got != "1 2" {
		t.Errorf("got %q", got)
	}
	_, err := w.Next(context.Background())
	var ended *watch.EndedError
	if !errors.As(err, &ended) || !errors.Is(err, watch.ErrHistoryLost) || ended.Next != 3 {
		t.Errorf("ended with %v", err)
	}
}

// TestReplaceKeepsWatchers checks K114 and R65: after a snapshot is installed, watchers get what they have missed, or end.
func TestReplaceKeepsWatchers(t *testing.T) {
	options := Options{HistoryEvents: 5}
	follower, leader := New(options), New(options)
	must(t, follower, file("/k", "1"))
	must(t, leader, file("/k", "1"))
	waiting := watching(t, follower, "/k", watch.Options{})
	stream := watching(t, follower, "/k", watch.Options{Stream: true})
	other := watching(t, follower, "/other", watch.Options{Stream: true})
	future := watching(t, follower, "/k", watch.Options{Stream: true, Since: 20})

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
	for key, w := range map[string]*watch.Watcher{"/k": stream, "/other": other} {
		_, err := w.Next(context.Background())
		var ended *watch.EndedError
		if !errors.As(err, &ended) || ended.Cause != watch.ErrHistoryLost || ended.Next != 5 {
			t.Errorf("%s ended with %v", key, err)
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

// TestReplaceTellsOfRemovedDirectories: if a snapshot contains the removal of a directory, nobody knows which nodes were below
// it. So all watchers below get the event, as they do from history (K106d).
func TestReplaceTellsOfRemovedDirectories(t *testing.T) {
	follower, leader := New(Options{}), New(Options{})
	for _, s := range []*Store{follower, leader} {
		must(t, s, file("/d/a/k", ""), file("/other", ""))
	}
	below := map[string]*watch.Watcher{}
	for _, key := range []string{"/d/a/k", "/d/b", "/d/a/k/x", "/d"} {
		below[key] = watching(t, follower, key, watch.Options{})
	}
	beside := watching(t, follower, "/dd", watch.Options{})
	must(t, leader, rmdir("/d"))
	follower.Replace(reloaded(t, leader))
	for key, w := range below {
		if got := ready(t, w); got != "3" {
			t.Errorf("%s got %q", key, got)
		}
	}
	if got := ready(t, beside); got != "" {
		t.Errorf("/dd got %q", got)
	}
}

// TestAnOldWatchStillFires waits for two months of log time, while the history changes completely many times (R71).
func TestAnOldWatchStillFires(t *testing.T) {
	s := New(Options{HistoryEvents: 100})
	old := watching(t, s, "/rare", watch.Options{})
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
