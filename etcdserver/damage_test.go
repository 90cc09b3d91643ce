package etcdserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/internal/disk"
	"canopy/store"
	"canopy/wal"
)

var (
	damageSeed  = flag.Uint64("damage-seed", 0, "seed of the damage test; 0: a fresh one")
	damageCount = flag.Int("damages", 400, "how many mutations the damage test tries")
)

// recorded is a member's directory after an orderly stop, and every state of
// the tree that it went through.
type recorded struct {
	fs     *disk.Mem
	o      Options
	states map[string]int // tree to its number
	last   int
}

// record runs a member through snapshots and several log segments.
func record(t *testing.T) recorded {
	t.Helper()
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SegmentBytes, o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = 8<<10, 60, 3, 1
	m := start(t, o)
	r := recorded{fs: fs, o: o, states: map[string]int{}}
	for i := range 300 {
		r.states[tree(t, m)] = i
		m.set(fmt.Sprintf("d%d/k%d", i%3, i%7), strings.Repeat(fmt.Sprint(i), 10))
		r.last = i + 1
	}
	r.states[tree(t, m)] = r.last
	m.halt()
	return r
}

// tree is all keys and values that a member holds.
func tree(t *testing.T, m *running) string {
	t.Helper()
	v, err := m.Read(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	l, err := v.Get(store.Key{}, store.ReadOptions{Recursive: true, Sorted: true})
	if err != nil {
		t.Fatal(err)
	}
	return string(l.AppendJSON(nil))
}

// No damage to the files leads to a panic, a hang, or a tree that never was:
// the member refuses to start, or has a state that it once had (R1, R6, R16,
// R17).
func TestDamagedDirectoriesAreNeverServedWrong(t *testing.T) {
	seed := *damageSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -damage-seed=%d", seed)
	r := record(t)
	refused, whole, older := 0, 0, 0
	for i := range *damageCount {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		fs := r.fs.Clone()
		what := mutate(t, fs, rng)
		state, ok := r.reopen(t, fs, what)
		switch {
		case !ok:
			refused++
		case state == r.last:
			whole++
		default:
			older++
		}
	}
	t.Logf("%d mutations: %d refused, %d without loss, %d with the end of the log cut", *damageCount, refused, whole, older)
}

// reopen starts a member on damaged files. It gives the number of the state
// that it has, or false if it refuses.
func (r recorded) reopen(t *testing.T, fs *disk.Mem, what string) (state int, ok bool) {
	t.Helper()
	o := r.o
	o.FS = fs
	m, err := Open(o)
	if err != nil {
		return 0, false
	}
	ctx, stop := context.WithCancel(context.Background())
	run := &running{Member: m, t: t, stop: stop, done: make(chan error, 1)}
	go func() { run.done <- m.Run(ctx) }()
	defer run.halt()
	select {
	case <-m.Ready():
	case <-time.After(hang):
		t.Fatalf("%s: the member hangs", what)
	}
	got := tree(t, run)
	state, known := r.states[got]
	if !known {
		t.Fatalf("%s: the tree was never so: %s", what, got)
	}
	return state, true
}

// mutate damages one file: a bit, its length, or all of it.
func mutate(t *testing.T, fs *disk.Mem, rng *rand.Rand) (what string) {
	t.Helper()
	var files []string
	for _, dir := range []string{"/data/member/wal", "/data/member/snap"} {
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			files = append(files, filepath.Join(dir, name))
		}
	}
	name := files[rng.IntN(len(files))]
	info, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	size := max(1, info.Size)
	switch rng.IntN(4) {
	case 0:
		at := rng.Int64N(size)
		truncate(t, fs, name, at)
		return fmt.Sprintf("%s cut at %d of %d", name, at, size)
	case 1:
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
		return name + " removed"
	}
	bit := rng.Int64N(size * 8)
	if err := fs.Flip(name, bit); err != nil && info.Size > 0 {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s with bit %d flipped", name, bit)
}

func truncate(t *testing.T, fs disk.FS, name string, size int64) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(size), f.Sync()); err != nil {
		t.Fatal(err)
	}
}

// A log that ends before what it says was committed is refused, with what to
// do, and nothing is changed (R7).
func TestALogShorterThanItsCommitIsRefused(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	m := start(t, o)
	m.set("k", "1")
	m.halt()
	log, _, err := wal.Open(fs, "/data/member/wal", wal.Options{SegmentBytes: o.SegmentBytes, NoSync: o.NoSync})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Replay(1, func(wal.Kind, uint64, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	ahead := []byte{0x08, 0x02, 0x18, 0xe8, 0x07} // a hard state with term 2 and commit 1000
	if err := errors.Join(log.Append(wal.Record{Kind: datadir.HardStateRecord, Payload: ahead}), log.Sync(), log.Close()); err != nil {
		t.Fatal(err)
	}
	var refused *DataDirError
	if _, err := Open(o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "committed") || refused.Advice == "" {
		t.Errorf("Open = %v, want a refusal that says what to do", err)
	}
}

// A snapshot of another cluster is refused, and not put aside.
func TestAForeignSnapshotIsRefused(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SnapshotEntries, o.MaxSnapshots = 10, 5
	m := start(t, o)
	for len(snapshots(t, fs)) == 0 {
		m.set("k", "1")
	}
	m.halt()
	other := o
	other.DataDir = "/other"
	other.Bootstrap = func() (Bootstrap, error) {
		return Bootstrap{Cluster: map[string][]string{"default": {"http://localhost:2380"}}, Token: "another"}, nil
	}
	start(t, other).halt()
	name := snapshots(t, fs)[0]
	if err := fs.Rename("/data/member/snap/"+name, "/other/member/snap/"+name); err != nil {
		t.Fatal(err)
	}
	var refused *DataDirError
	if _, err := Open(other); !errors.As(err, &refused) || !strings.Contains(err.Error(), "of cluster") {
		t.Errorf("Open = %v, want a refusal that names both clusters", err)
	}
}

// A directory that others can enter is tightened (R18).
func TestAnOpenDirectoryIsTightened(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	start(t, o).halt()
	fs.Expose(o.DataDir)
	start(t, o).halt()
	if tightened, err := fs.Secure(o.DataDir); tightened || err != nil {
		t.Errorf("Secure = %v, %v: the directory was still open", tightened, err)
	}
}
