package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"canopy/internal/rng"
	"canopy/store/watch"
)

var randomCommands = flag.Int("commands", 100_000, "how many random commands a store gets")

// TestRandomCommandsMatchTheModel runs random commands, reads, watches, expiries, snapshots and reloads on a store and on a
// naive model. Answers, events of watchers, trees, and stores after a reload must be equal.
func TestRandomCommandsMatchTheModel(t *testing.T) {
	commands := *randomCommands
	if raceEnabled || testing.Short() {
		commands /= 8
	}
	for i, o := range []Options{
		{HistoryEvents: 100, HistoryBytes: 1 << 30, WatchQueue: 1000},
		{HistoryEvents: 2000, HistoryBytes: 200_000, WatchQueue: 1000},
		{HistoryEvents: 1000, HistoryBytes: 1 << 30, WatchQueue: 3},
		{HistoryEvents: 1000, HistoryBytes: 3000, WatchQueue: 1},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := rng.Seed(t)
			d := &duel{t: t, rng: rand.New(rand.NewPCG(s, uint64(i))), options: o, store: New(o), model: newModel(o), now: 1_700_000_000_123456789}
			for n := 0; n < commands; {
				n += d.step()
			}
			d.compareAll()
			t.Logf("index %d, %d events from %d watchers", d.model.index, d.delivered, d.watched)
		})
	}
}

// duel runs the store and the model.
type duel struct {
	t                  *testing.T
	rng                *rand.Rand
	options            Options
	store              *Store
	model              *model
	now                int64
	watchers           []*modelWatcher
	delivered, watched int
}

// modelWatcher is a watcher and what it should get.
type modelWatcher struct {
	*watch.Watcher
	key               string
	recursive, stream bool
	must              []modelEvent // in order, each delivered exactly once
	may               map[uint64]modelEvent
	next              uint64 // the index of the next event that consider has to look at
	exact             bool   // the watcher cannot fall behind, so only must may come
}

func (d *duel) step() int {
	switch p := d.rng.IntN(1000); {
	case p < 2:
		d.reload()
	case p < 20:
		d.watch()
	case p < 60:
		d.drain(d.rng.IntN(len(d.watchers) + 1))
	case p < 100:
		d.read()
	case p < 103:
		d.compareAll()
	case p < 110:
		d.model.index++
		if got := d.store.Advance(); uint64(got) != d.model.index {
			d.t.Fatalf("Advance = %d, want %d", got, d.model.index)
		}
		d.publish()
	case p < 112:
		gap := d.rng.Int64N(3e9)
		d.store.Shift(Duration(gap))
		d.model.shift(gap)
		d.publish()
	case p < 200:
		d.expire()
		d.publish()
	default:
		batch := 1 + d.rng.IntN(8)
		for range batch {
			d.command()
		}
		d.publish()
		return batch
	}
	return 0
}

func (d *duel) key() Key {
	names := []string{"a", "b", "ab", "_h", "ü<\xff"}
	var path string
	for depth := d.rng.IntN(4); depth > 0; depth-- {
		path += "/" + names[d.rng.IntN(len(names))]
	}
	if d.rng.IntN(50) == 0 { // a name of CreateInOrder, past or future
		path += fmt.Sprintf("/%020d", d.model.index-3+d.rng.Uint64N(8))
	}
	k, err := ParseKey(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return k
}

func (d *duel) value() string {
	return []string{"", "x", "y", "long \u2028 \x00\n value &"}[d.rng.IntN(4)]
}

func (d *duel) ttl() TTL {
	switch d.rng.IntN(12) {
	case 0, 1, 2:
		return TTL{Set: true, Seconds: d.rng.Uint64N(6)}
	case 3:
		return TTL{Set: true, Seconds: d.rng.Uint64N(9_000_000_000)}
	case 4:
		return TTL{Set: true, Seconds: d.rng.Uint64()}
	}
	return TTL{}
}

func (d *duel) bool(oneIn int) bool { return d.rng.IntN(oneIn) == 0 }

// prevIndex is often the right one.
func (d *duel) prevIndex(key string) Index {
	if n := d.model.nodes[key]; n != nil && d.bool(2) {
		return Index(n.modified)
	}
	return Index(d.rng.Uint64N(2) * d.rng.Uint64N(d.model.index+2))
}

func (d *duel) randomCommand() Command {
	const large = 80 // nodes; the model is slow
	if len(d.model.nodes) > large {
		top := d.model.children("")
		k, _ := ParseKey(top[d.rng.IntN(len(top))])
		return Delete{Key: k, Recursive: true}
	}
	k := d.key()
	switch d.rng.IntN(14) {
	case 0, 1, 2, 3:
		return Set{Key: k, Value: d.value(), TTL: d.ttl(), Refresh: d.bool(6)}
	case 4:
		return Set{Key: k, Value: d.value(), TTL: d.ttl(), Dir: true}
	case 5:
		return Create{Key: k, Value: d.value(), Dir: d.bool(3), TTL: d.ttl()}
	case 6:
		return CreateInOrder{Dir: k, Value: d.value(), AsDir: d.bool(4), TTL: d.ttl()}
	case 7, 8:
		return Update{Key: k, Value: d.value(), TTL: d.ttl(), Refresh: d.bool(4)}
	case 9, 10:
		return CompareAndSwap{Key: k, Value: d.value(), TTL: d.ttl(), Refresh: d.bool(4), PrevValue: d.value(), PrevIndex: d.prevIndex(k.clean)}
	case 11:
		return CompareAndDelete{Key: k, PrevValue: d.value(), PrevIndex: d.prevIndex(k.clean)}
	}
	return Delete{Key: k, Dir: d.bool(2), Recursive: d.bool(2)}
}

// command runs one command, through its log form, on both.
func (d *duel) command() {
	d.now += d.rng.Int64N(2e8) - 2e7 // a leader's clock may go back; the log's time does not
	if d.bool(3) {
		d.expire()
	}
	c := d.randomCommand()
	b, err := EncodeCommand(nil, c)
	if err != nil {
		d.t.Fatal(err)
	}
	decoded, err := DecodeCommand(b)
	if err != nil || decoded != c {
		d.t.Fatalf("%#v came out of the log as %#v, %v", c, decoded, err)
	}
	e, err := d.store.Apply(Time(d.now), decoded)
	want, wantErr := d.model.apply(d.now, c)
	if !sameError(err, wantErr) {
		d.t.Fatalf("%#v = %v, want %v", c, err, wantErr)
	}
	if err == nil {
		d.checkEvent(c, e, want)
	}
}

func (d *duel) checkEvent(c Command, e *watch.Event, want string) {
	if string(e.JSON()) != want {
		d.t.Fatalf("%#v\n = %s\nwant %s", c, e.JSON(), want)
	}
	created := bytes.HasPrefix(e.JSON(), []byte(`{"action":"create"`)) ||
		bytes.HasPrefix(e.JSON(), []byte(`{"action":"set"`)) && !bytes.Contains(e.JSON(), []byte(`,"prevNode":`))
	if uint64(e.Index()) != d.model.index || e.Created() != created {
		d.t.Fatalf("%#v: index %d, want %d; created %v", c, e.Index(), d.model.index, e.Created())
	}
}

func sameError(got error, want *modelError) bool {
	var e *Error
	if got == nil || want == nil {
		return got == nil && want == nil
	}
	return errors.As(got, &e) && int(e.Code) == want.code && e.Cause == want.cause && uint64(e.Index) == want.index
}

func (d *duel) expire() {
	most := d.rng.IntN(4)
	if got, want := d.store.Expire(Time(d.now), most), d.model.expire(d.now, most); got != want {
		d.t.Fatalf("Expire = %d, want %d", got, want)
	}
	got, ok := d.store.NextDeadline()
	want, wantOK := d.model.nextDeadline()
	if int64(got) != want && ok || ok != wantOK {
		d.t.Fatalf("NextDeadline = %d %v, want %d %v", got, ok, want, wantOK)
	}
}

// publish publishes on both sides, and tells the watchers what they must get.
func (d *duel) publish() {
	fresh := uint64(d.store.View().Index())
	publish(d.store)
	first := len(d.model.history)
	for first > 0 && d.model.history[first-1].index > fresh {
		first--
	}
	for _, w := range d.watchers {
		for _, e := range d.model.history[first:] {
			w.consider(e, true)
		}
	}
	d.model.publish()
	if d.options.WatchQueue >= 1000 && d.bool(20) {
		d.drainAll()
	}
}

// consider records whether the watcher must or may get the event.
func (w *modelWatcher) consider(e modelEvent, live bool) {
	if e.index < w.next || len(w.must) > 0 && !w.stream {
		return
	}
	if e.matches(w.key, w.recursive, live) {
		w.must = append(w.must, e)
	}
	if e.matches(w.key, w.recursive, false) {
		w.may[e.index] = e
	}
	w.next = e.index + 1
}

func (d *duel) watch() {
	const most = 30
	if len(d.watchers) > most {
		d.drainAll()
		left := min(most/2, len(d.watchers))
		for _, w := range d.watchers[left:] {
			w.Close()
		}
		d.watchers = d.watchers[:left]
	}
	w := &modelWatcher{key: d.key().clean, recursive: d.bool(2), stream: d.bool(2), may: map[uint64]modelEvent{}}
	var since uint64
	if d.bool(2) {
		since = d.rng.Uint64N(d.model.index + 5)
		if d.bool(2) {
			since = max(since, d.model.oldest)
		}
	}
	var err error
	k, _ := ParseKey(w.key)
	w.Watcher, err = d.store.Watch(k, watch.Options{Recursive: w.recursive, Stream: w.stream, Since: Index(since)})
	if since != 0 && since < d.model.oldest {
		cause := fmt.Sprintf("the requested history has been cleared [%d/%d]", d.model.oldest, since)
		if !sameError(err, &modelError{401, cause, d.model.index}) {
			d.t.Fatalf("watch from %d = %v, want %s", since, err, cause)
		}
		return
	}
	if err != nil || uint64(w.StartIndex()) != d.model.index {
		d.t.Fatalf("watch from %d: %v", since, err)
	}
	d.watched++
	w.next = since
	if since == 0 {
		w.next = d.model.index + 1
	}
	for _, e := range d.model.history {
		w.consider(e, false)
	}
	w.exact = d.options.WatchQueue >= 1000
	d.watchers = append(d.watchers, w)
	if w.exact {
		d.drain(len(d.watchers) - 1) // so that it is live before anything else happens
	}
}

func (d *duel) drainAll() {
	for i := len(d.watchers) - 1; i >= 0; i-- {
		d.drain(i)
	}
}

// drain takes what the i-th watcher has and checks it.
func (d *duel) drain(i int) {
	if i >= len(d.watchers) {
		return
	}
	w := d.watchers[i]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := w.Next(ctx)
		var ended *watch.EndedError
		switch {
		case errors.Is(err, context.Canceled):
			if len(w.must) > 0 {
				d.t.Fatalf("watcher of %q (recursive %v) did not get %s", w.key, w.recursive, w.must[0].json)
			}
			return
		case errors.As(err, &ended):
			d.checkEnd(w, ended)
			w.Close()
			d.watchers = append(d.watchers[:i], d.watchers[i+1:]...)
			return
		}
		d.deliver(w, e)
	}
}

// deliver checks one event against what may and must come next.
func (d *duel) deliver(w *modelWatcher, e *watch.Event) {
	want, ok := w.may[uint64(e.Index())]
	switch {
	case !ok:
		d.t.Fatalf("watcher of %q (recursive %v) got a wrong or doubled event %s", w.key, w.recursive, e.JSON())
	case string(e.JSON()) != want.json:
		d.t.Fatalf("watcher of %q got %s want %s", w.key, e.JSON(), want.json)
	case len(w.must) > 0 && w.must[0].index < want.index && w.stream:
		d.t.Fatalf("watcher of %q got %s before %s", w.key, e.JSON(), w.must[0].json)
	case w.exact && (len(w.must) == 0 || w.must[0].index != want.index):
		d.t.Fatalf("watcher of %q (recursive %v) got %s, which is not below it", w.key, w.recursive, e.JSON())
	}
	if len(w.must) > 0 && w.must[0].index == want.index || !w.stream {
		w.must = w.must[min(1, len(w.must)):]
	}
	for index := range w.may {
		if index <= want.index {
			delete(w.may, index)
		}
	}
	d.delivered++
}

// checkEnd checks that a watcher ends only for a reason, and at the right index.
func (d *duel) checkEnd(w *modelWatcher, ended *watch.EndedError) {
	switch {
	case !w.stream && len(w.must) == 0 && errors.Is(ended, watch.ErrClosed):
	case len(w.must) > 0 && errors.Is(ended, watch.ErrHistoryLost) && !w.exact &&
		uint64(ended.Next) <= w.must[0].index && uint64(ended.Next) < d.model.oldest:
	case len(w.must) == 0 && errors.Is(ended, watch.ErrHistoryLost) && !w.exact && uint64(ended.Next) < d.model.oldest:
	default:
		d.t.Fatalf("watcher of %q (stream %v) ended: %v; oldest %d, %d to come", w.key, w.stream, ended, d.model.oldest, len(w.must))
	}
}

func (d *duel) read() {
	k, recursive := d.key(), d.bool(2)
	now := d.model.now + d.rng.Int64N(3e9)
	want, wantErr := d.model.get(k.clean, recursive, now)
	l, err := d.store.View().Get(k, ReadOptions{Recursive: recursive, Now: Time(now)})
	if !sameError(err, wantErr) {
		d.t.Fatalf("get %q = %v, want %v", k, err, wantErr)
	}
	if err != nil {
		return
	}
	var out bytes.Buffer
	if err := l.WriteJSON(&out); err != nil {
		d.t.Fatal(err)
	}
	if got := string(l.AppendJSON(nil)); got != want || out.String() != want {
		d.t.Fatalf("get %q recursive %v\n = %s\n = %s\nwant %s", k, recursive, got, out.String(), want)
	}
}

// compareAll compares the whole state.
func (d *duel) compareAll() {
	want, _ := d.model.get("", true, d.model.now)
	got := treeOf(d.t, d.store)
	if got != want {
		d.t.Fatalf("tree\n = %s\nwant %s", got, want)
	}
	oldest, newest := d.store.HistoryRange()
	if uint64(oldest) != d.model.oldest || uint64(newest) != d.model.index {
		d.t.Fatalf("history %d-%d, want %d-%d", oldest, newest, d.model.oldest, d.model.index)
	}
	checkInvariants(d.t, d.store)
	st, m := d.store.Stats(), d.model.stats
	wantStats := Stats{SetsSuccess: m["settrue"], SetsFail: m["setfalse"], CreateSuccess: m["createtrue"], CreateFail: m["createfalse"],
		UpdateSuccess: m["updatetrue"], UpdateFail: m["updatefalse"], CompareAndSwapSuccess: m["swaptrue"], CompareAndSwapFail: m["swapfalse"],
		DeleteSuccess: m["deletetrue"], DeleteFail: m["deletefalse"], CompareAndDeleteSuccess: m["compareDeletetrue"],
		CompareAndDeleteFail: m["compareDeletefalse"], ExpireCount: m["expired"], Watchers: st.Watchers}
	if st != wantStats {
		d.t.Fatalf("stats %+v, want %+v", st, wantStats)
	}
}

// reload saves the store, loads it, and goes on with the copy: as a restarted member, whose watchers are gone, or as
// one that installs a snapshot, whose watchers stay.
func (d *duel) reload() {
	saved := save(d.t, d.store)
	copied, err := Load(bytes.NewReader(saved), d.options)
	if err != nil {
		d.t.Fatal(err)
	}
	if again := save(d.t, copied); !bytes.Equal(again, saved) {
		d.t.Fatal("a loaded store saves differently")
	}
	if d.bool(2) {
		d.store.Replace(copied)
	} else {
		d.drainAll()
		for _, w := range d.watchers {
			w.Close()
		}
		if open := d.store.Watchers(); open != 0 {
			d.t.Fatalf("%d watchers left", open)
		}
		d.watchers = nil
		d.store = copied
	}
	d.compareAll()
}

func save(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.View().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// treeOf lists everything that is not hidden.
func treeOf(t testing.TB, s *Store) string {
	t.Helper()
	l, err := s.View().Get(Key{}, ReadOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	return string(l.AppendJSON(nil))
}
