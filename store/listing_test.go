package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"canopy/store/nodejson"
	"canopy/store/watch"
)

// TestListings checks K36-K39 and K75-K76.
func TestListings(t *testing.T) {
	s := New(Options{})
	if got := treeOf(t, s); got != `{"action":"get","node":{"dir":true}}`+"\n" { // K38, R46
		t.Errorf("an empty store: %s", got)
	}
	for _, name := range []string{"é", "~", "a.b", "a-b", "a", "A", "9", "10"} {
		must(t, s, file("/so/"+name, ""))
	}
	must(t, s, file("/hid/_d/_e/x", ""), file("/hid/_d/v", ""), file("/hid/f_x", ""), file("/only/_h", ""), dir("/e"))
	for _, c := range []struct {
		rule, key string
		recursive bool
		want      string
	}{
		{"K36 a file", "/so/a", true, `{"key":"/so/a","value":"","modifiedIndex":5,"createdIndex":5}`},
		{"K28 an empty directory", "/e", true, `{"key":"/e","dir":true,"modifiedIndex":13,"createdIndex":13}`},
		{"K75 only hidden children", "/only", true, `{"key":"/only","dir":true,"modifiedIndex":12,"createdIndex":12}`},
		{"K76 a hidden directory by name", "/hid/_d", true,
			`{"key":"/hid/_d","dir":true,"nodes":[{"key":"/hid/_d/v","value":"","modifiedIndex":10,"createdIndex":10}],"modifiedIndex":9,"createdIndex":9}`},
		{"K76 only a leading underscore hides", "/hid", false,
			`{"key":"/hid","dir":true,"nodes":[{"key":"/hid/f_x","value":"","modifiedIndex":11,"createdIndex":11}],"modifiedIndex":9,"createdIndex":9}`},
		{"K37 one level", "/", false, `{"dir":true,"nodes":[{"key":"/e","dir":true,"modifiedIndex":13,"createdIndex":13},` +
			`{"key":"/hid","dir":true,"modifiedIndex":9,"createdIndex":9},{"key":"/only","dir":true,"modifiedIndex":12,"createdIndex":12},` +
			`{"key":"/so","dir":true,"modifiedIndex":1,"createdIndex":1}]}`},
	} {
		l, err := s.View().Get(mustKey(c.key), ReadOptions{Recursive: c.recursive})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(l.AppendJSON(nil)), `{"action":"get","node":`+c.want+"}\n"; got != want {
			t.Errorf("%s:\n   %s\nwant %s", c.rule, got, want)
		}
	}
	l, _ := s.View().Get(mustKey("/so"), ReadOptions{})
	at := 0
	for _, name := range []string{"10", "9", "A", "a", "a-b", "a.b", "~", "é"} { // K39
		next := strings.Index(string(l.AppendJSON(nil)), `"/so/`+name+`"`)
		if next < at {
			t.Errorf("%s is not in its place", name)
		}
		at = next
	}
}

// TestViewsDoNotChange reads an old view after the tree was written, replaced and removed.
func TestViewsDoNotChange(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/a/b/c", "1"), file("/a/b/d", "2"))
	old, want := s.View(), treeOf(t, s)
	must(t, s, file("/a/b/c", "new"), Delete{Key: mustKey("/a/b/d")}, Update{Key: mustKey("/a/b"), TTL: TTL{true, 9}}, rmdir("/a"), file("/a", ""))
	l, err := old.Get(Key{}, ReadOptions{Recursive: true})
	if err != nil || string(l.AppendJSON(nil)) != want || old.Index() != 2 {
		t.Errorf("old view = %s, %v, want %s", l.AppendJSON(nil), err, want)
	}
	if _, err := old.Get(mustKey("/a/b/c/x"), ReadOptions{}); err.(*Error).Index != 2 {
		t.Errorf("error of an old view: %+v", err)
	}
}

// TestReadingAFileHardlyAllocates allows one allocation, the Listing.
func TestReadingAFileHardlyAllocates(t *testing.T) {
	s := prepared(t)
	k, buf := mustKey("/d/c"), make([]byte, 0, 1024)
	n := testing.AllocsPerRun(100, func() {
		l, err := s.View().Get(k, ReadOptions{Now: testTime})
		if err != nil || !l.Small() {
			t.Fatal(err)
		}
		buf = l.AppendJSON(buf[:0])
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestSmall(t *testing.T) {
	s := New(Options{})
	must(t, s, file("/file", strings.Repeat("v", 1<<20)), file("/fat/k", strings.Repeat("v", smallBytes)))
	for i := range 3 * smallNodes {
		must(t, s, file(fmt.Sprintf("/wide/%d", i), ""), file(fmt.Sprintf("/nested/%d/k", i%(smallNodes/2+1)), ""))
	}
	for _, c := range []struct {
		key             string
		recursive, want bool
	}{{"/file", true, false}, {"/fat", false, false}, {"/wide", false, false}, {"/nested", false, true}, {"/nested", true, false}, {"/", false, false}, {"/", true, false}} {
		l, err := s.View().Get(mustKey(c.key), ReadOptions{Recursive: c.recursive})
		if err != nil || l.Small() != c.want {
			t.Errorf("%s recursive %v: small %v, %v", c.key, c.recursive, l.Small(), err)
		}
	}
}

// pieces records the largest write, and fails at the write number left.
type pieces struct {
	largest, left int
	sum           int64
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.left--; p.left == 0 {
		return 0, io.ErrClosedPipe
	}
	p.largest = max(p.largest, len(b))
	p.sum += int64(len(b))
	return len(b), nil
}

// TestLargeListingsStream checks that a listing is written in pieces, however large the values are, and stops at an error.
func TestLargeListingsStream(t *testing.T) {
	s := New(Options{HistoryEvents: 1})
	for i := range 20_000 {
		must(t, s, file(fmt.Sprintf("/k%05d", i), "v"))
	}
	must(t, s, file("/large", strings.Repeat("v", 1<<20)))
	l, err := s.View().Get(Key{}, ReadOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	var p pieces
	if err := l.WriteJSON(&p); err != nil || p.largest > 64<<10 || p.sum != int64(len(l.AppendJSON(nil))) {
		t.Errorf("pieces of up to %d, %d in all, %v", p.largest, p.sum, err)
	}
	if err := l.WriteJSON(&pieces{left: 3}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a failing writer: %v", err)
	}
}

// TestOneValueStreams: a value is the same in pieces as in one, wherever a piece ends, and the memory does not depend on its
// size.
func TestOneValueStreams(t *testing.T) {
	s := New(Options{HistoryEvents: 1})
	for name, unit := range map[string]string{
		"control": "\x01", "plain": "v", "wide": "aä€😀", "broken": "\xf0\x9f\x98", "stray": "\x80", "line": "\u2028x\u2029", "cut": "\xe2\x80",
	} {
		for shift := range 4 {
			value := strings.Repeat("a", shift) + strings.Repeat(unit, (3*partBytes+100)/len(unit))
			must(t, s, Set{Key: mustKey("/d/" + name), Value: value, TTL: TTL{true, 9}})
			for _, key := range []string{"/d/" + name, "/d"} {
				l, err := s.View().Get(mustKey(key), ReadOptions{Now: testTime})
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if err := l.WriteJSON(&got); err != nil || l.Small() {
					t.Fatalf("%s: %v, small %v", key, err, l.Small())
				}
				if want := string(l.AppendJSON(nil)); got.String() != want || !strings.Contains(want, string(nodejson.AppendString(nil, value))+`,"expiration"`) {
					t.Errorf("%s, shifted by %d, differs in pieces", name, shift)
				}
			}
			if want := len(nodejson.AppendEscaped(nil, value)); nodejson.EscapedLen(value) != want {
				t.Errorf("%s takes %d bytes, not %d", name, want, nodejson.EscapedLen(value))
			}
		}
	}
	must(t, s, file("/large", strings.Repeat("\x01", 4<<20)))
	l, err := s.View().Get(mustKey("/large"), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = l.WriteJSON(&pieces{})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > 1<<20 {
		t.Errorf("writing 24 MiB took %d bytes, %v", took, err)
	}
}

// TestDeepAndWideTrees checks R54: 10,000 levels, names of 64 kB, many children; written, read, watched, saved, loaded,
// expired and removed, with a stack that stays small.
func TestDeepAndWideTrees(t *testing.T) {
	const depth = 10_000
	deep, long := strings.Repeat("/d", depth), "/"+strings.Repeat("n", 64<<10)
	s := New(Options{})
	w := watching(t, s, deep, watch.Options{Stream: true})
	all := watching(t, s, "/", watch.Options{Stream: true, Recursive: true})
	must(t, s, timed(deep, 5), file(long+long, "v"))
	for i := range 3000 {
		must(t, s, file(fmt.Sprintf("/wide/%d", i), ""))
	}
	s = func() *Store { c := reloaded(t, s); s.Replace(c); return s }()
	checkInvariants(t, s)
	if l, err := s.View().Get(mustKey(deep), ReadOptions{}); err != nil || !strings.Contains(string(l.AppendJSON(nil)), `"ttl":5`) {
		t.Errorf("the deepest key: %v", err)
	}
	l, _ := s.View().Get(Key{}, ReadOptions{Recursive: true})
	var p pieces
	if err := l.WriteJSON(&p); err != nil || p.sum < depth*depth {
		t.Errorf("listing of %d bytes, %v", p.sum, err)
	}
	if got := try(s, testTime, file(deep+"/x", "")); !strings.HasPrefix(got, "104 /d/d/d") {
		t.Errorf("below the deepest: %.20s", got)
	}
	must(t, s, timed(deep, 1))
	if n := s.Expire(testTime+2*Time(Second), 10); n != 1 {
		t.Errorf("%d expired", n)
	}
	must(t, s, timed(deep, 1), rmdir("/d"), rmdir(long))
	if got := ready(t, w); got != "1 3003 3004 3005 3006" {
		t.Errorf("watcher of the deepest key got %q", got)
	}
	if got := ready(t, all); len(strings.Fields(got)) != 3007 {
		t.Errorf("watcher of the root got %d events", len(strings.Fields(got)))
	}
	checkInvariants(t, s)
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.StackInuse > 64<<20 {
		t.Errorf("stacks of %d bytes", m.StackInuse)
	}
}

// TestReadersDoNotDisturbTheWriter lists, saves and loads views while the store is written, for the race detector, and
// checks that each view is one state.
func TestReadersDoNotDisturbTheWriter(t *testing.T) {
	s := New(Options{HistoryEvents: 100})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for range 30 {
				readWhole(t, s.View())
			}
		})
	}
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			must(t, s, file(fmt.Sprintf("/d%d/k%d", i%7, i%50), fmt.Sprint(i)))
		}
	}
}

// readWhole compares the listing of a view with that of what it saves.
func readWhole(t *testing.T, v *View) {
	l, err := v.Get(Key{}, ReadOptions{Recursive: true})
	if err != nil {
		t.Error(err)
		return
	}
	var saved bytes.Buffer
	if err := v.Save(&saved); err != nil {
		t.Error(err)
	}
	copied, err := Load(&saved, Options{HistoryEvents: 100})
	if err != nil || treeOf(t, copied) != string(l.AppendJSON(nil)) || copied.View().Index() != v.Index() {
		t.Errorf("the view of index %d: %v", v.Index(), err)
	}
}
