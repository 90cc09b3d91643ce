package etcdtree

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store"
)

// TestTwoStoresAgree gives random requests to this package and to package store, which have the rules of keys from the same
// specification and no code in common: index, nodes, indexes of nodes and the history are equal (section 12, 2).
func TestTwoStoresAgree(t *testing.T) {
	r := rng.New(t)
	for range 200 {
		agree(t, r)
	}
}

func agree(t *testing.T, r *rand.Rand) {
	t.Helper()
	old := New(Rules{Padded: true})
	now := store.New(store.Options{})
	at := int64(1_500_000_000e9)
	names := []string{"a", "b", "c", "_h"}
	for range 300 {
		at += r.Int64N(3e9)
		old.Sync(at)
		for now.Expire(store.Time(at), 1000) == 1000 {
		}
		path := ""
		for range 1 + r.IntN(3) {
			path += "/" + names[r.IntN(len(names))]
		}
		key, err := store.ParseKey(path)
		if err != nil {
			t.Fatal(err)
		}
		ttl := store.TTL{Set: r.IntN(4) == 0, Seconds: uint64(r.IntN(20) + 1)}
		q := Request{Path: "/1" + path, Value: fmt.Sprint(r.IntN(3)), Dir: r.IntN(4) == 0, Recursive: r.IntN(2) == 0}
		if ttl.Set {
			q.Expires = at + int64(ttl.Seconds)*1e9
		}
		if r.IntN(3) == 0 {
			q.PrevValue = fmt.Sprint(r.IntN(3))
		}
		if r.IntN(3) == 0 {
			q.PrevIndex = uint64(r.IntN(int(now.View().Index()) + 1))
		}
		ok, c := false, store.Command(nil)
		switch r.IntN(8) {
		case 0:
			q.Refresh = ttl.Set && !q.Dir && r.IntN(2) == 0
			ok, c = old.Set(q), store.Set{Key: key, Value: q.Value, Dir: q.Dir, TTL: ttl, Refresh: q.Refresh}
		case 1:
			ok, c = old.Create(q), store.Create{Key: key, Value: q.Value, Dir: q.Dir, TTL: ttl}
		case 2:
			ok, c = old.CreateInOrder(q), store.CreateInOrder{Dir: key, Value: q.Value, AsDir: q.Dir, TTL: ttl}
		case 3:
			q.Refresh = ttl.Set && r.IntN(2) == 0
			ok, c = old.Update(q), store.Update{Key: key, Value: q.Value, TTL: ttl, Refresh: q.Refresh}
		case 4:
			ok, c = old.CompareAndSwap(q), store.CompareAndSwap{Key: key, Value: q.Value, TTL: ttl, PrevValue: q.PrevValue, PrevIndex: store.Index(q.PrevIndex)}
		case 5:
			ok, c = old.Delete(q), store.Delete{Key: key, Dir: q.Dir, Recursive: q.Recursive}
		case 6:
			ok, c = old.CompareAndDelete(q), store.CompareAndDelete{Key: key, PrevValue: q.PrevValue, PrevIndex: store.Index(q.PrevIndex)}
		case 7:
			ok, c = old.Set(q), store.Set{Key: key, Value: q.Value, Dir: q.Dir, TTL: ttl}
		}
		_, err = now.Apply(store.Time(at), c)
		if ok != (err == nil) {
			t.Fatalf("%T %+v: %v here, %v there", c, q, ok, err)
		}
		now.Publish()
	}
	parts := old.Parts()
	parts.Time = store.Time(at)
	got, want := whole(t, store.Assemble(parts, store.Options{})), whole(t, now)
	if got != want {
		t.Fatalf("the states are\n%s\nand\n%s", got, want)
	}
}

// whole is all that a store shows: hidden keys in a listing of their own.
func whole(t *testing.T, s *store.Store) string {
	t.Helper()
	var b strings.Builder
	view := s.View()
	oldest, newest := s.HistoryRange()
	fmt.Fprintln(&b, view.Index(), oldest, newest)
	for _, raw := range []string{"/", "/_h", "/a/_h", "/b/_h", "/c/_h"} {
		key, err := store.ParseKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		l, err := view.Get(key, store.ReadOptions{Recursive: true})
		if err != nil {
			fmt.Fprintln(&b, raw, err)
			continue
		}
		b.Write(l.AppendJSON(nil))
	}
	return b.String()
}
