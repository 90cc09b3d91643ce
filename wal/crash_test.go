package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"canopy/internal/disk"
)

// seed replays one run of the crash tests; they print it when they fail.
var seed = flag.Uint64("seed", 0, "run the crash tests with this seed only")

func seeds(n uint64) []uint64 {
	if *seed != 0 {
		return []uint64{*seed}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i) + 1
	}
	return all
}

// optionsOf gives segments that grow to every other seed.
func optionsOf(seed uint64) Options {
	if seed%2 == 0 {
		return growing
	}
	return small
}

// writer drives a log with random batches, and remembers what it was promised. Entry n holds body(n); after some of
// them a state follows that holds the entry's index.
type writer struct {
	o              Options // of the log
	rng            *rand.Rand
	next           uint64 // index of the next entry
	acked          uint64 // index of the newest safe entry
	ackedState     uint64
	released       uint64 // entries up to here may be gone
	pending, state uint64 // newest entry and state appended
}

func body(index uint64) string {
	rng := rand.New(rand.NewPCG(index, 7))
	n := rng.IntN(120)
	if rng.IntN(12) == 0 {
		n = rng.IntN(3000)
	}
	b := []byte(strings.Repeat("x", n))
	for i := range b {
		b[i] = byte('a' + rng.IntN(26))
	}
	return string(b)
}

// run appends batches until an error, or until rounds are done.
func (w *writer) run(l *Log, rounds int) error {
	for range rounds {
		for range 1 + w.rng.IntN(4) {
			if err := l.Append(entry(w.next, body(w.next))); err != nil {
				return err
			}
			w.pending = w.next
			w.next++
			if w.rng.IntN(3) == 0 {
				w.state = w.pending
				if err := l.Append(hardState(fmt.Sprint(w.state))); err != nil {
					return err
				}
			}
		}
		if err := l.Sync(); err != nil {
			return err
		}
		w.acked, w.ackedState = w.pending, w.state
		if w.rng.IntN(5) == 0 && w.acked > 30 {
			w.released = max(w.released, w.acked-30)
			if err := l.Release(w.released, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// check says what is wrong with a recovered log, and goes on from where it ends.
func (w *writer) check(l *Log, got []rec) error {
	var state uint64
	entries := entriesOf(got)
	last := max(l.First(), 1) - 1
	for _, r := range got {
		if r.Index == 0 {
			n, err := strconv.ParseUint(r.Payload, 10, 64)
			if err != nil || n < state || n > last {
				return fmt.Errorf("state %q after state %d, entry %d", r.Payload, state, last)
			}
			state = n
			continue
		}
		if r.Index != last+1 {
			return fmt.Errorf("entry %d follows entry %d", r.Index, last)
		}
		if last = r.Index; r.Payload != body(last) {
			return fmt.Errorf("entry %d holds something else", last)
		}
	}
	switch {
	case l.First() > w.released+1:
		return fmt.Errorf("the log begins at %d, released is up to %d", l.First(), w.released)
	case last < w.acked || state < w.ackedState:
		return fmt.Errorf("the log ends at entry %d, state %d; safe were %d and %d", last, state, w.acked, w.ackedState)
	case last > w.pending || state > w.state:
		return fmt.Errorf("the log ends at entry %d, state %d; appended were %d and %d", last, state, w.pending, w.state)
	case len(entries) == 0 && w.acked > w.released:
		return fmt.Errorf("no entries")
	}
	w.next, w.pending, w.state = last+1, last, state
	w.acked, w.ackedState = last, state
	return nil
}

// reopenAndCheck recovers a log, which must succeed.
func (w *writer) reopenAndCheck(m *disk.Mem) (*Log, error) {
	l, got, err := reopen(m, w.o, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w\n%v", err, m)
	}
	if err := w.check(l, got); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%v", err, m), l.Close())
	}
	return l, nil
}

// TestNothingSafeIsLostInACrash cuts the power at each operation of a run, then at some operation of the recovery, and
// looks whether all is there for which Sync returned, and the log goes on (R3, R10).
func TestNothingSafeIsLostInACrash(t *testing.T) {
	const rounds = 50
	for _, seed := range seeds(3) {
		whole, o := disk.NewMem(), optionsOf(seed)
		l := create(t, whole, o)
		begin := whole.Count(disk.AnyChange)
		if err := (&writer{o: o, rng: rand.New(rand.NewPCG(seed, 1)), next: 1}).run(l, rounds); err != nil {
			t.Fatal(err)
		}
		for point := 1; point <= whole.Count(disk.AnyChange)-begin; point++ {
			m := disk.NewMem()
			l := create(t, m, o)
			m.Inject(disk.Fault{Nth: point, Dead: true})
			w := &writer{o: o, rng: rand.New(rand.NewPCG(seed, 1)), next: 1}
			if err := w.run(l, rounds); err == nil {
				t.Fatalf("seed %d, point %d: no crash", seed, point)
			}
			for fate := range uint64(4) {
				if err := crashTwice(m, *w, seed, uint64(point)*8+fate); err != nil {
					t.Fatalf("-seed %d: crash at operation %d, fate %d: %v", seed, point, fate, err)
				}
			}
		}
	}
}

// crashTwice recovers from a crash, is interrupted in that, recovers again, goes on, and reads it all once more.
func crashTwice(m *disk.Mem, w writer, seed, fate uint64) error {
	rng := rand.New(rand.NewPCG(seed, fate))
	w.rng = rng
	m = m.Crash(fate)
	m.Inject(disk.Fault{Nth: 1 + rng.IntN(6), Dead: true})
	if l, got, err := reopen(m, w.o, 0); err == nil {
		// A promise: what was read does not vanish in the next crash.
		if err := w.check(l, got); err != nil {
			return err
		}
	} else if errors.As(err, new(*CorruptError)) {
		return err
	}
	m = m.Crash(fate + 1)
	l, err := w.reopenAndCheck(m)
	if err != nil {
		return err
	}
	if err := w.run(l, 12); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	if l, err = w.reopenAndCheck(m.Crash(fate + 2)); err != nil {
		return err
	}
	return l.Close()
}

// TestFailingOperationIsReported makes each operation of a run fail once. What Sync promised before is there after the
// next start, whether the process is killed or the power is cut, and what that start has read and
// written is there after another cut.
func TestFailingOperationIsReported(t *testing.T) {
	for _, cause := range []error{disk.ErrInjected, disk.ErrNoSpace} {
		for _, seed := range seeds(2) {
			for point := 1; ; point++ {
				m := disk.NewMem()
				l := create(t, m, optionsOf(seed))
				m.Inject(disk.Fault{Nth: point, Err: cause})
				w := &writer{o: optionsOf(seed), rng: rand.New(rand.NewPCG(seed, 2)), next: 1}
				err := w.run(l, 40)
				if !m.Struck() {
					break
				}
				if err != nil && !errors.Is(err, cause) && !errors.Is(err, ErrFailed) {
					t.Fatalf("-seed %d: operation %d failed, and the log says %v", seed, point, err)
				}
				m.Heal()
				for name, after := range map[string]*disk.Mem{"kill": m.Clone(), "power cut": m.Crash(uint64(point))} {
					w := *w
					l, err := w.reopenAndCheck(after)
					if err != nil {
						t.Fatalf("-seed %d: operation %d failed, then a %s: %v", seed, point, name, err)
					}
					if err := w.run(l, 2); err != nil {
						t.Fatal(err)
					}
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					if l, err = w.reopenAndCheck(after.Crash(uint64(point))); err != nil {
						t.Fatalf("-seed %d: operation %d failed, then a %s, a start, and a power cut: %v", seed, point, name, err)
					}
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// TestCreateIsAllOrNothing cuts the power at each operation of Create.
func TestCreateIsAllOrNothing(t *testing.T) {
	for point := 1; ; point++ {
		m := disk.NewMem()
		m.Inject(disk.Fault{Nth: point, Dead: true})
		l, err := Create(m, "/wal", []byte("member 1"), small)
		for fate := range uint64(20) {
			c := m.Crash(fate)
			found, e := Exists(c, "/wal")
			if e != nil {
				t.Fatal(e)
			}
			if err == nil && !found {
				t.Fatalf("crash at operation %d: Create returned, and nothing is there", point)
			}
			if !found {
				create(t, c, small)
				continue
			}
			again, got := mustReopen(t, c, small, 0)
			if len(got) != 0 {
				t.Fatalf("crash at operation %d: records %v", point, got)
			}
			closed(t, again)
		}
		if err == nil {
			closed(t, l)
		}
		if !m.Struck() {
			return
		}
	}
}

// TestFullDiskStopsGrowthOnly fills the disk (R8): the log goes on for a segment's room after it says so, refuses without
// harm then, opens again while the disk is full, and goes on by itself when there is room.
func TestFullDiskStopsGrowthOnly(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	m.SetCapacity(40 << 10)
	w := &writer{o: small, rng: rand.New(rand.NewPCG(1, 3)), next: 1}
	for l.Reserved() {
		w.append(t, l)
	}
	if err := l.Reserve(); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("Reserve on a full disk = %v", err)
	}
	after := 0
	for ; ; after++ {
		if err := l.Append(entry(w.next, body(w.next))); err != nil {
			t.Fatal(err)
		}
		w.pending = w.next
		w.next++
		left, batch := l.Left(), int64(len(l.batch))
		err := l.Sync()
		if fits := batch <= left; fits != (err == nil) {
			t.Errorf("a batch of %d bytes with %d left: %v", batch, left, err)
		}
		if errors.Is(err, disk.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w.acked = w.pending
	}
	if after < 2 {
		t.Errorf("only %d batches fitted after the reserve was gone", after)
	}
	for name, c := range map[string]*disk.Mem{"kill": m.Clone(), "power cut": m.Crash(1)} {
		w := *w
		l, err := w.reopenAndCheck(c)
		if err != nil {
			t.Fatalf("%s on a full disk: %v", name, err)
		}
		closed(t, l)
	}
	if err := l.Sync(); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("Sync on a disk that is still full = %v", err)
	}
	m.SetCapacity(0)
	if err := l.Sync(); err != nil {
		t.Fatalf("Sync when there is room again: %v", err)
	}
	if w.acked = w.pending; !l.Reserved() {
		t.Error("no spare segment although there is room")
	}
	closed(t, l)
	if _, err := w.reopenAndCheck(m); err != nil {
		t.Error(err)
	}
}

// append makes one entry safe.
func (w *writer) append(t *testing.T, l *Log) {
	t.Helper()
	put(t, l, entry(w.next, body(w.next)))
	w.pending, w.acked = w.next, w.next
	w.next++
}

// TestSpareSurvivesARestartOnAFullDisk: the reserve is what deletes need after a kill -9 while the disk is full.
func TestSpareSurvivesARestartOnAFullDisk(t *testing.T) {
	m := disk.NewMem()
	l := create(t, m, small)
	put(t, l, entry(1, "a"))
	m.SetCapacity(1)
	l, _ = mustReopen(t, m.Clone(), small, 0)
	if !l.Reserved() {
		t.Error("the spare segment was given away")
	}
	for i := uint64(2); i < 100; i++ {
		err := l.Append(entry(i, strings.Repeat("x", 400)))
		if err == nil {
			err = l.Sync()
		}
		if err != nil && (!errors.Is(err, disk.ErrNoSpace) || i < 14) {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}

// TestUsedSpareIsEmptied: a cut that did not come to its end leaves bytes in the spare segment.
func TestUsedSpareIsEmptied(t *testing.T) {
	for _, size := range []int{0, 100, 4096, 10000} {
		m := disk.NewMem()
		closed(t, create(t, m, small))
		setContent(t, m, "/wal/"+spareName, []byte(strings.Repeat("?", size)))
		l, want := mustReopen(t, m, small, 0)
		if !l.Reserved() {
			t.Errorf("spare of %d bytes: not reserved", size)
		}
		for i := uint64(1); i < 3; i++ {
			put(t, l, entry(i, strings.Repeat("x", 2000)))
			want = append(want, rec{entryKind, i, strings.Repeat("x", 2000)})
		}
		closed(t, l)
		l, got := mustReopen(t, m, small, 0)
		goesOn(t, m, l, got)
		if len(got) != len(want) {
			t.Errorf("spare of %d bytes: %d records, want %d", size, len(got), len(want))
		}
	}
}
