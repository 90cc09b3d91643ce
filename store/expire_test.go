package store

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func timed(key string, seconds uint64) Command {
	return Set{Key: mustKey(key), Value: "v", TTL: TTL{Set: true, Seconds: seconds}}
}

// expired runs Expire until nothing is due, and returns the keys in order.
func expired(s *Store, at Time) []string {
	_, before := s.HistoryRange()
	for s.Expire(at, 1) > 0 {
	}
	publish(s)
	var keys []string
	h := s.hub.History()
	c := h.From(before + 1)
	for e := c.Next(); e != nil; e = c.Next() {
		keys = append(keys, e.Key())
	}
	return keys
}

// TestExpiryOrder checks K86 and K88: nodes expire by deadline and then by key, and a directory with all nodes below it. A
// child with an earlier deadline expires before its directory.
func TestExpiryOrder(t *testing.T) {
	s := New(Options{})
	must(t, s, timed("/z", 2), timed("/b", 2), timed("/a", 2), timed("/c", 1), timed("/later", 60),
		Set{Key: mustKey("/d"), Dir: true, TTL: TTL{Set: true, Seconds: 3}}, timed("/d/early", 1), timed("/d/late", 9), file("/d/forever", ""))
	got := fmt.Sprint(expired(s, testTime+5*Time(Second)))
	if want := "[/c /d/early /a /b /z /d]"; got != want {
		t.Errorf("expired %s, want %s", got, want)
	}
	if s.View().Index() != 15 || s.deadlines.Len() != 1 {
		t.Errorf("index %d, %d deadlines", s.View().Index(), s.deadlines.Len())
	}
}

// TestExpireEvent checks the event (K84), and that an overdue node exists until it is removed (K81).
func TestExpireEvent(t *testing.T) {
	s := New(Options{})
	must(t, s, Set{Key: mustKey("/d"), Dir: true, TTL: TTL{Set: true, Seconds: 1}})
	if got := try(s, testTime+9*Time(Second), file("/d/k", "1")); got[0] != '{' {
		t.Errorf("write below an overdue directory: %s", got)
	}
	s.Expire(testTime+9*Time(Second), 1)
	want := `{"action":"expire","node":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":1},"prevNode":{"key":"/d","dir":true,"expiration":"2023-11-14T22:13:21Z","modifiedIndex":1,"createdIndex":1}}` + "\n"
	publish(s)
	h := s.hub.History()
	c := h.From(h.Newest())
	if got := string(c.Next().JSON()); got != want {
		t.Errorf("event = %s, want %s", got, want)
	}
}

// TestTTLIsTheCeilingAndNeverNegative checks K82 and K83.
func TestTTLIsTheCeilingAndNeverNegative(t *testing.T) {
	s := New(Options{})
	must(t, s, timed("/k", 5))
	for _, c := range []struct {
		after Duration
		want  string
	}{{1, `"ttl":5,`}, {Second, `"ttl":4,`}, {4 * Second, `"ttl":1,`}, {5*Second - 1, `"ttl":1,`}, {5 * Second, ""}, {500 * Second, ""}, {-Second, `"ttl":6,`}} {
		l, err := s.View().Get(mustKey("/k"), ReadOptions{Now: testTime + Time(c.after)})
		if err != nil {
			t.Fatal(err)
		}
		got := string(l.AppendJSON(nil))
		if c.want != "" && !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "ttl") {
			t.Errorf("after %d: %s", c.after, got)
		}
	}
}

// TestTTLPastTheEndOfTimeIsRefused checks K89 on both sides of 2262-01-01.
func TestTTLPastTheEndOfTimeIsRefused(t *testing.T) {
	end := time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
	if int64(deadlineLast) != end.UnixNano() {
		t.Fatalf("deadlineLast is %d, want %d", deadlineLast, end.UnixNano())
	}
	most := uint64(end.Unix()) - uint64(testTime)/1e9
	for _, seconds := range []uint64{most + 1, 9223372036, 18446744074, math.MaxUint64} {
		s := New(Options{})
		for _, c := range []Command{timed("/k", seconds), Create{Key: mustKey("/k"), TTL: TTL{true, seconds}},
			CreateInOrder{TTL: TTL{true, seconds}}, Update{Key: mustKey("/k"), TTL: TTL{true, seconds}},
			CompareAndSwap{Key: mustKey("/k"), TTL: TTL{true, seconds}}} {
			_, err := s.Apply(testTime, c)
			if e, ok := err.(*Error); !ok || e.Code != 202 || e.Cause != `invalid value for "ttl"` || e.Index != 0 {
				t.Errorf("%#v: %v", c, err)
			}
		}
	}
	s := New(Options{})
	if got := try(s, testTime, timed("/k", most)); !strings.Contains(got, `"expiration":"2262-01-01T00:00:00Z"`) {
		t.Errorf("the last ttl there is: %s", got)
	}
	if got := try(s, deadlineLast+1, timed("/k", 0)); got[:3] != "202" {
		t.Errorf("past the end: %s", got)
	}
	s.Shift(math.MaxInt64)
	s.Shift(math.MaxInt64)
	if at, _ := s.NextDeadline(); at != math.MaxInt64 {
		t.Errorf("shifted past the end: %d", at)
	}
}

// TestLeaderlessTimeKillsNobody checks R51: Shift moves the deadlines of existing nodes, and not those of later ones.
func TestLeaderlessTimeKillsNobody(t *testing.T) {
	s := New(Options{})
	must(t, s, timed("/old", 5))
	s.Shift(60 * Second)
	now := testTime + 60*Time(Second)
	if n := s.Expire(now, 10); n != 0 {
		t.Error("expired right after the gap")
	}
	if got := try(s, now, timed("/new", 4)); !strings.Contains(got, `"ttl":4`) {
		t.Errorf("new key: %s", got)
	}
	publish(s)
	s = reloaded(t, s)
	if got := fmt.Sprint(expired(s, now+4*Time(Second)), expired(s, now+5*Time(Second))); got != "[/new] [/old]" {
		t.Errorf("expired %s", got)
	}
}

// TestRefreshMovesTheDeadline checks K67, K69 and K81: the last deadline counts, whichever command set it.
func TestRefreshMovesTheDeadline(t *testing.T) {
	s, k := New(Options{}), mustKey("/k")
	must(t, s, timed("/k", 1), Set{Key: k, Refresh: true, TTL: TTL{true, 10}},
		Update{Key: k, Refresh: true, TTL: TTL{true, 20}}, CompareAndSwap{Key: k, Refresh: true, PrevValue: "v", TTL: TTL{true, 30}})
	if n := s.Expire(testTime+29*Time(Second), 10); n != 0 || s.deadlines.Len() != 1 {
		t.Errorf("%d expired early, %d deadlines", n, s.deadlines.Len())
	}
	must(t, s, Set{Key: k, Refresh: true, TTL: TTL{Set: true}})
	if n := s.Expire(0, 10); n != 1 {
		t.Error("a refresh with ttl 0 did not expire the key")
	}
}

// TestMassExpiryIsBounded checks R52: one entry does bounded work, and a few entries do all of it.
func TestMassExpiryIsBounded(t *testing.T) {
	const keys, perEntry = 20_500, 1000
	s := New(Options{})
	for i := range keys {
		must(t, s, timed(fmt.Sprintf("/k%d", i), 1))
	}
	calls := 0
	for left := keys; left > 0; calls++ {
		n := s.Expire(testTime+Time(Second), perEntry)
		if n != min(left, perEntry) {
			t.Fatalf("%d expired at once", n)
		}
		left -= n
	}
	if calls != 21 {
		t.Errorf("%d calls", calls)
	}
}

// TestDeadlineAtTheBeginningOfTime: since 0 means permanent, a deadline at 0 becomes 1 ns.
func TestDeadlineAtTheBeginningOfTime(t *testing.T) {
	s := New(Options{})
	if got := try(s, 0, timed("/k", 0)); !strings.Contains(got, `"expiration":"1970-01-01T00:00:00.000000001Z"`) {
		t.Errorf("set = %s", got)
	}
	if n := s.Expire(1, 1); n != 1 {
		t.Error("the key did not expire")
	}
}

// TestRemovalForgetsDeadlines checks K73: nodes that were removed with a directory do not expire, and new nodes with the same
// keys expire at their own deadlines.
func TestRemovalForgetsDeadlines(t *testing.T) {
	s := New(Options{})
	for i := range 200 {
		must(t, s, timed(fmt.Sprintf("/d/%d/k", i%9), 5), timed(fmt.Sprintf("/d/t%d", i), 5), file(fmt.Sprintf("/d/p/%d", i), ""))
	}
	must(t, s, rmdir("/d"), timed("/d/t1", 50), file("/d/0/k", ""))
	if n := s.Expire(testTime+10*Time(Second), 10); n != 0 || s.deadlines.Len() != 1 {
		t.Errorf("%d expired, %d deadlines", n, s.deadlines.Len())
	}
	s.Shift(-5)
	s.Shift(0)
	if at, _ := s.NextDeadline(); at != testTime+50*Time(Second) {
		t.Errorf("deadline %d", at)
	}
}

// TestLogTimeNeverGoesBack checks commands and expiry.
func TestLogTimeNeverGoesBack(t *testing.T) {
	s := New(Options{})
	s.Expire(testTime+Time(Second), 1)
	e := must(t, s, timed("/k", 1))
	if s.View().Time() != testTime+Time(Second) || !strings.Contains(string(e.JSON()), "22:13:22Z") {
		t.Errorf("time %d, %s", s.View().Time(), e.JSON())
	}
	if _, err := s.Apply(-5, file("/n", "")); err != nil || s.clock.Now != testTime+Time(Second) {
		t.Errorf("a time before 1970: %v", err)
	}
}
