package tuning

import (
	"runtime"
	"testing"
	"time"
)

// usual makes a gomaxprocs, and restores GOMAXPROCS after the test.
func usual(t *testing.T) *gomaxprocs {
	t.Helper()
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	g := newGomaxprocs()
	if got := runtime.GOMAXPROCS(0); got != before+extra {
		t.Fatalf("it begins with %d, want %d", got, before+extra)
	}
	return g
}

func TestWhatLoneWritersLookLike(t *testing.T) {
	lone := sample{syncs: 400, syncing: 60 * time.Millisecond, last: 400, work: 50 * time.Millisecond}
	for _, c := range []struct {
		what   string
		change func(*sample)
		want   bool
	}{
		{"one write after the other", func(*sample) {}, true},
		{"a few at a time", func(s *sample) { s.last = 4 * 400 }, true},
		{"many at a time", func(s *sample) { s.last = 4*400 + 1 }, false},
		{"nothing is written", func(s *sample) { *s = sample{} }, false},
		{"a write now and then", func(s *sample) { s.syncs, s.last, s.syncing = 3, 3, time.Millisecond }, false},
		{"a slow disk", func(s *sample) { s.syncs, s.last, s.syncing = 40, 40, 90*time.Millisecond }, false},
		{"one sync in which the window ends", func(s *sample) { s.syncs, s.last, s.syncing = 1, 1, time.Second }, false},
		{"readers as well", func(s *sample) { s.work = 150 * time.Millisecond }, false},
		{"the log was cut back", func(s *sample) { s.last = ^uint64(9) }, false},
	} {
		window := lone
		c.change(&window)
		if got := window.within(&leaderLimits); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestWhatFollowingLooksLike(t *testing.T) {
	following := sample{syncs: 100, syncing: 60 * time.Millisecond, last: 3000, work: 40 * time.Millisecond}
	for _, c := range []struct {
		what   string
		change func(*sample)
		want   bool
	}{
		{"many at a time", func(*sample) {}, true},
		{"nothing comes", func(s *sample) { *s = sample{} }, false},
		{"a slow disk", func(s *sample) { s.syncs, s.syncing = 20, 90*time.Millisecond }, false},
		{"clients as well", func(s *sample) { s.work = 70 * time.Millisecond }, false},
		{"the log was cut back", func(s *sample) { s.last = ^uint64(9) }, false},
	} {
		window := following
		c.change(&window)
		if got := window.within(&followerLimits); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestOnlyFollowersMayTakeMany(t *testing.T) {
	g := usual(t)
	all := runtime.GOMAXPROCS(0)
	var now sample
	look := func() int {
		for range patience {
			now.syncs, now.syncing, now.last, now.work = now.syncs+100, now.syncing+60*time.Millisecond, now.last+3000, now.work+40*time.Millisecond
			g.decide(now)
		}
		return runtime.GOMAXPROCS(0)
	}
	for i, c := range []struct {
		follows bool
		want    int
	}{{false, all}, {true, 1}, {false, all}, {true, 1}} {
		g.follows.Store(c.follows)
		if got := look(); got != c.want {
			t.Errorf("change %d, follows: %v: %d, want %d", i, c.follows, got, c.want)
		}
	}
}

func TestDownSlowlyAndUpAtOnce(t *testing.T) {
	g := usual(t)
	var now sample
	look := func(lone bool) int {
		if now.work += 10 * time.Millisecond; lone {
			now.syncs, now.syncing, now.last = now.syncs+400, now.syncing+60*time.Millisecond, now.last+400
		}
		g.decide(now)
		return runtime.GOMAXPROCS(0)
	}
	all := runtime.GOMAXPROCS(0)
	for i, c := range []struct {
		lone bool
		want int
	}{
		{true, all}, {true, all}, {false, all}, {true, all}, {true, all}, {true, 1}, {true, 1}, {false, all}, {true, all},
	} {
		if got := look(c.lone); got != c.want {
			t.Errorf("window %d: %d, want %d", i, got, c.want)
		}
	}
}

func TestSyncsAreCounted(t *testing.T) {
	g := usual(t)
	for i := range 3 * 400 {
		g.synced(200*time.Microsecond, uint64(i+1))
		if i%400 == 399 {
			g.decide(g.count(0))
		}
	}
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("after lone writes for %d windows: %d, want 1", patience, got)
	}
}
