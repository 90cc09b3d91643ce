package store

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"canopy/internal/rng"
	"canopy/store/storepb"
)

// postIntoTheDeepest is the log form of a POST into a directory of MaxDepth, as an older version wrote it.
func postIntoTheDeepest(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := (&storepb.Command{Kind: storepb.Command_CREATE_IN_ORDER, Key: []byte(dir), Value: []byte("v")}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAPostIntoTheDeepestDirectory: a new POST is refused, since no command could name the child. One that is in the log is
// applied, and its child can be saved, loaded, read, and deleted with its directory.
func TestAPostIntoTheDeepestDirectory(t *testing.T) {
	dir := strings.Repeat("/a", MaxDepth)
	for _, c := range []Command{CreateInOrder{Dir: mustKey(dir)}, Delete{Key: mustKey(dir + "/b")}} {
		if b, err := EncodeCommand([]byte("before"), c); !errors.Is(err, ErrTooDeep) || string(b) != "before" {
			t.Errorf("%T below the deepest key is encoded: %v", c, err)
		}
	}
	c, err := DecodeCommand(postIntoTheDeepest(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{})
	must(t, s, c)
	publish(s)
	s = survivor(t, s, Options{})
	child := mustKey(dir + "/" + orderedName(1))
	if _, err := s.View().Get(child, ReadOptions{}); err != nil {
		t.Errorf("the child cannot be read: %v", err)
	}
	must(t, s, Delete{Key: mustKey(dir), Recursive: true})
	publish(s)
	if _, err := survivor(t, s, Options{}).View().Get(child, ReadOptions{}); err == nil {
		t.Error("the child is still there")
	}
}

// survivor saves the store and loads it. The copy must be equal to the byte, history included, and Verify must find its hash.
func survivor(t *testing.T, s *Store, o Options) *Store {
	t.Helper()
	saved := save(t, s)
	if hash, err := Verify(bytes.NewReader(saved)); err != nil || hash != s.View().Hash() {
		t.Fatalf("Verify = %x, %v, want %x", hash, err, s.View().Hash())
	}
	copied, err := Load(bytes.NewReader(saved), o)
	if err != nil {
		t.Fatalf("what was accepted is not loaded: %v", err)
	}
	if copied.View().Hash() != s.View().Hash() || !bytes.Equal(save(t, copied), saved) {
		t.Fatal("the loaded store is another one")
	}
	checkInvariants(t, copied)
	return copied
}

// TestWhatIsAcceptedIsSavedLoadedAndReplayed runs commands at and beyond every limit: of depth, length, names, values,
// TTLs, times and history. All that is accepted goes through the log, through snapshots, and into a store that installs one,
// and must be the same afterwards.
func TestWhatIsAcceptedIsSavedLoadedAndReplayed(t *testing.T) {
	t.Parallel()
	seed := rng.Seed(t)
	rounds := 8
	if raceEnabled {
		rounds = 3
	}
	for round := range rounds {
		e := &extremes{t: t, rng: rand.New(rand.NewPCG(seed, uint64(round))), deep: round == 0}
		e.options = Options{HistoryEvents: e.oneOf(1, 2, chunkEvents, chunkEvents+1, 100_000), HistoryBytes: int64(e.oneOf(1, chunkBytes, 8<<20))}
		e.run()
	}
}

// Limits inside package watch.
const (
	chunkEvents  = 256
	chunkBytes   = 256 << 10
	arenaJSONMax = 1 << 10
)

// extremes is a store that gets commands at its limits, and one that replays its log.
type extremes struct {
	t        *testing.T
	rng      *rand.Rand
	deep     bool
	options  Options
	accepted int
	now      Time
}

func (e *extremes) oneOf(choices ...int) int { return choices[e.rng.IntN(len(choices))] }

func (e *extremes) run() {
	s, follower := New(e.options), New(e.options)
	for range 4 {
		e.pass()
		gap := Duration(e.oneOf(0, 0, 1, math.MaxInt32, math.MaxInt))
		for range 20 {
			b, err := EncodeCommand(nil, e.command(s))
			if err != nil {
				continue // refused, and changes nothing
			}
			got, want := e.replay(follower, b), e.replay(s, b)
			if got != want {
				e.t.Fatalf("the follower says %.200s, want %.200s", got, want)
			}
		}
		for _, each := range []*Store{s, follower} {
			each.Shift(gap)
			each.Expire(e.now, e.oneOf(3))
			publish(each)
		}
		s = survivor(e.t, s, e.options)
		follower.Replace(survivor(e.t, follower, e.options))
		if !bytes.Equal(save(e.t, follower), save(e.t, s)) {
			e.t.Fatal("the follower's state is another one")
		}
	}
	if e.accepted == 0 {
		e.t.Error("no command was accepted")
	}
}

// pass lets some time pass, and sometimes nearly all that is left.
func (e *extremes) pass() {
	late := []Time{deadlineLast - 1, deadlineLast, deadlineLast + 1, math.MaxInt64}
	if e.now += Time(e.rng.Int64N(int64(5 * Second))); e.rng.IntN(10) == 0 {
		e.now = max(e.now, late[e.rng.IntN(len(late))])
	}
	e.now = max(e.now, 0)
}

// replay applies the log form of a command.
func (e *extremes) replay(s *Store, b []byte) string {
	c, err := DecodeCommand(b)
	if err != nil {
		e.t.Fatalf("what was encoded is not decoded: %v", err)
	}
	event, err := s.Apply(e.now, c)
	if err != nil {
		return err.Error()
	}
	e.accepted++
	return string(event.JSON())
}

func (e *extremes) command(s *Store) Command {
	k := e.key(s)
	ttl := TTL{Set: e.rng.IntN(3) == 0, Seconds: e.seconds()}
	switch e.rng.IntN(8) {
	case 0:
		return Set{Key: k, Value: e.value(), TTL: ttl}
	case 1:
		return Set{Key: k, Dir: true, TTL: ttl}
	case 2:
		return CreateInOrder{Dir: k, Value: e.value(), TTL: ttl, AsDir: e.rng.IntN(3) == 0}
	case 3:
		return Update{Key: k, Value: e.value(), TTL: ttl, Refresh: e.rng.IntN(2) == 0}
	case 4:
		return CompareAndSwap{Key: k, Value: e.value(), PrevIndex: Index(e.rng.Uint64N(uint64(s.index) + 2)), TTL: ttl}
	case 5:
		return Delete{Key: k, Recursive: e.rng.IntN(4) == 0}
	case 6:
		return CompareAndDelete{Key: k, PrevValue: e.value()}
	}
	return Create{Key: k, Value: e.value(), TTL: ttl, Dir: e.rng.IntN(2) == 0}
}

func (e *extremes) seconds() uint64 {
	most := uint64(deadlineLast-e.now) / uint64(Second)
	choices := []uint64{0, 1, most - 1, most, most + 1, math.MaxInt64, math.MaxUint64}
	return choices[e.rng.IntN(len(choices))]
}

func (e *extremes) value() string {
	size := e.oneOf(0, 1, 100)
	if e.rng.IntN(10) == 0 {
		size = e.oneOf(arenaJSONMax, recordStep-1, recordStep, recordStep+1)
	}
	return strings.Repeat(string([]byte{byte(e.rng.Uint32())}), size)
}

// oddNames are sorted, hashed, printed or counted in an unusual way.
var oddNames = []string{"a", "a\x00", "aa", "\x00", "\xff", "\xff\xff", "...", "_", "_hidden", " ", "\n", "é", "e\u0301", "\u2028",
	`"\`, "<&>", orderedName(math.MaxUint64), orderedName(0), strings.Repeat("9", 20), strings.Repeat("n", 255)}

func (e *extremes) key(s *Store) Key {
	if e.rng.IntN(10) == 0 { // one of the next names of CreateInOrder
		return mustKey("/a/" + orderedName(uint64(s.index)+e.rng.Uint64N(4)))
	}
	if e.rng.IntN(40) == 0 {
		return mustKey("/" + strings.Repeat("n", recordStep))
	}
	if e.deep && e.rng.IntN(10) == 0 {
		return mustKey(strings.Repeat("/d", e.oneOf(MaxDepth-1, MaxDepth, deepest)))
	}
	var path string
	for range 1 + e.rng.IntN(3) {
		path += "/" + oddNames[e.rng.IntN(len(oddNames))]
	}
	return mustKey(path)
}
