package etcdserver

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
	"canopy/store/storepb"
)

// openSnaps opens the snapshots of a member that does not run.
func openSnaps(t *testing.T, fs disk.FS) (*snap.Dir, []snap.Meta) {
	t.Helper()
	dir, err := snap.Open(fs, "/data/member/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	metas, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	return dir, metas
}

// spoil writes a snapshot anew so that each of its bytes is as it was written, but no program can load it.
func spoil(t *testing.T, dir *snap.Dir, meta snap.Meta) {
	t.Helper()
	var content []byte
	err := dir.Load(meta, func(r io.Reader) (err error) {
		content, err = io.ReadAll(r)
		return err
	})
	if err == nil {
		err = dir.Save(meta, func(w io.Writer) error {
			_, err := w.Write(append(content, "more than a state"...))
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// withSnapshots runs a member until it has so many snapshots, and gives its tree as of the end.
func withSnapshots(t *testing.T, o Options, count int) (want string) {
	t.Helper()
	m := start(t, o)
	heavy := store.CompareAndSwap{Key: mustKey(t, "/none"), PrevValue: strings.Repeat("x", 16<<10)} // in the log, and not in the state
	eventually(t, "snapshots", func() bool {
		if _, err := m.Do(t.Context(), heavy); err == nil {
			t.Fatal("a swap of a key that is not there has succeeded")
		}
		return len(snapshots(t, o.FS)) >= count
	})
	m.set("/k", "v")
	want = tree(t, m)
	m.halt()
	return want
}

// A newest snapshot that is whole but cannot be loaded is treated like a damaged one: the one before it and the log make
// up for it, it is put aside, and that is counted.
func TestAStateThatCannotBeLoadedIsPutAside(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	unusable := 0
	o.SnapshotEntries, o.MaxSnapshots, o.Observer.Unusable = 10, 5, func() { unusable++ }
	want := withSnapshots(t, o, 3)
	dir, metas := openSnaps(t, fs)
	spoil(t, dir, metas[0])
	m := start(t, o)
	if got := tree(t, m); got != want {
		t.Errorf("the tree is %.200s, want %.200s", got, want)
	}
	m.halt()
	if _, err := fs.Stat(dir.Path(metas[0]) + ".broken"); err != nil || unusable != 1 {
		t.Errorf("put aside: %v; counted: %d", err, unusable)
	}
}

// Where the log does not reach back to a state that can be loaded, the member refuses to start, says which snapshots
// are no good, and changes nothing: another version may load them.
func TestStatesThatCannotBeLoadedStay(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SegmentBytes, o.SnapshotEntries, o.MaxSnapshots, o.MaxLogs = 64<<10, 10, 3, 1
	withSnapshots(t, o, 2)
	withSnapshots(t, o, 3) // the log before the older ones is released
	dir, metas := openSnaps(t, fs)
	for _, meta := range metas {
		spoil(t, dir, meta)
	}
	before := snapshots(t, fs)
	var refused *DataDirError
	if _, err := Open(o); !errors.As(err, &refused) || !strings.Contains(err.Error(), dir.Path(metas[0])) || !errors.Is(err, snap.ErrUnusable) {
		t.Errorf("Open = %v, want a refusal that names the snapshots", err)
	}
	if after := snapshots(t, fs); !slices.Equal(after, before) {
		t.Errorf("there are %v, and were %v", after, before)
	}
}

// A snapshot of the leader that cannot be loaded is put aside, and changes nothing.
func TestASpoiledSnapshotOfTheLeader(t *testing.T) {
	unusable := 0
	fs := disk.NewMem()
	o := testOptions(fs)
	o.Observer.Unusable = func() { unusable++ }
	m := start(t, o)
	m.set("/k", "v")
	want := tree(t, m)

	other, err := snap.Open(disk.NewMem(), "/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	meta := snap.Meta{Term: 9, Index: 1000}
	state := replica.New(m.cluster, store.Options{})
	state.Index, state.Term = 1000, 9
	if err := other.Save(meta, state.Snapshot().Save); err != nil {
		t.Fatal(err)
	}
	spoil(t, other, meta)
	message := raft.Snapshot{Term: 9, Meta: raft.SnapshotMeta{Index: 1000, Term: 9}}
	err = other.Export(meta, func(r io.Reader, _ int64) error { return m.peerFront.ReceiveSnapshot(t.Context(), 1, message, r) })
	if !errors.Is(err, snap.ErrUnusable) || unusable != 1 {
		t.Errorf("ReceiveSnapshot = %v; counted: %d", err, unusable)
	}
	if got := tree(t, m); got != want || len(snapshots(t, fs)) != 0 {
		t.Errorf("the tree is %s, want %s; snapshots %v", got, want, snapshots(t, fs))
	}
	if _, err := fs.Stat(m.sender.Dir.Path(meta) + ".broken"); err != nil {
		t.Error(err)
	}
}

// A child one deeper than a key can be, which an older version took, is in the log, and then in a snapshot; the member
// starts with both, and serves it. A new POST that would make such a child is refused, and changes nothing.
func TestAPostBelowTheDeepestDirectory(t *testing.T) {
	fs := disk.NewMem()
	o := testOptions(fs)
	o.SnapshotEntries, o.Election = 10, 30*time.Second // time for a request on a busy machine
	m := start(t, o)
	dir := strings.Repeat("/a", store.MaxDepth)
	before := m.View()
	if _, err := m.Do(t.Context(), store.CreateInOrder{Dir: mustKey(t, dir)}); !errors.Is(err, store.ErrTooDeep) || m.View() != before {
		t.Fatalf("POST = %v, index %d, and was %d", err, m.View(), before)
	}
	old, err := (&storepb.Command{Kind: storepb.Command_CREATE_IN_ORDER, Key: []byte(dir)}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	posted, err := m.proposeCommand(t.Context(), Origin{}, old, true)
	if err != nil {
		t.Fatal(err)
	}
	child := mustKey(t, posted.Event.Key())
	for _, snapshotsWanted := range []int{0, 1} {
		eventually(t, "snapshots", func() bool {
			m.set("/k", "v")
			return len(snapshots(t, fs)) >= snapshotsWanted
		})
		m.halt()
		m = start(t, o)
		if v, err := m.Read(context.Background(), true); err != nil {
			t.Fatal(err)
		} else if _, err := v.Get(child, store.ReadOptions{}); err != nil {
			t.Errorf("with %d snapshots: %v", snapshotsWanted, err)
		}
	}
	if _, err := m.Do(t.Context(), store.Delete{Key: mustKey(t, "/a"), Recursive: true}); err != nil {
		t.Errorf("DELETE = %v", err)
	}
}
