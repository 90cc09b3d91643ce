package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
)

// A snapshot costs what the state weighs, and a restart what the log since then does.
func TestWhenASnapshotIsDue(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		entries    uint64
		log, state int64
		patience   float64
		due        bool
	}{
		{entries: 10_000, log: mib, state: 0, due: true},
		{entries: 9_999, log: mib, state: 0},
		{entries: 10_000, log: 16*mib - 1, state: mib},
		{entries: 10_000, log: 16 * mib, state: mib, due: true},
		{entries: 14_999, log: 24 * mib, state: mib, patience: 0.5},
		{entries: 15_000, log: 24*mib - 1, state: mib, patience: 0.5},
		{entries: 15_000, log: 24 * mib, state: mib, patience: 0.5, due: true},
		{entries: 1e6, log: 132*mib - 1, state: 100 * mib},
		{entries: 1e6, log: 132 * mib, state: 100 * mib, due: true},
		{entries: 9_999, log: 256*mib - 1, state: 0},
		{entries: 9_999, log: 256 * mib, state: 0, due: true},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			front := &Front{jobs: make(chan job, 1)}
			s := NewSchedule(front, ScheduleOptions{
				MinEntries: 10_000, State: c.state, Growth: datadir.Growth{Entries: c.entries, Bytes: c.log}, Random: rand.New(rand.NewPCG(1, 2)),
			})
			s.patience = c.patience
			s.Consider(func() replica.Snapshot { return replica.Snapshot{} })
			if due := len(front.jobs) == 1; due != c.due {
				t.Errorf("due: %v", due)
			}
		})
	}
}

// A member that is told to end does not first write a snapshot, which takes seconds if there are many keys.
func TestASnapshotIsNotWaitedFor(t *testing.T) {
	fs := disk.NewMem()
	dir, err := snap.Open(fs, "/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Dir: dir})
	saved := make(chan error, 1)
	waited := job{Snapshot: replica.New(1, store.Options{}).Snapshot(), done: saved}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.save(ctx, waited); !errors.Is(err, context.Canceled) {
		t.Errorf("save = %v, want the end of the loop", err)
	}
	if err := <-saved; !errors.Is(err, context.Canceled) {
		t.Errorf("who waits is told %v", err)
	}
	if names, err := fs.List("/snap"); err != nil || len(names) != 0 {
		t.Errorf("%v is left, %v", names, err)
	}
}

// unusable counts snapshots that cannot be loaded.
type unusable struct{ count int }

func (*unusable) SnapshotSaved(raft.Index, int64, time.Duration) {}
func (*unusable) SnapshotFailed(raft.Index, error)               {}
func (u *unusable) SnapshotUnusable(raft.Index, error)           { u.count++ }

// A snapshot is trusted only after it was loaded: one that cannot be gets no name, older ones and the log stay, who
// waits for it is told, and the member goes on.
func TestASnapshotThatCannotBeLoadedReleasesNothing(t *testing.T) {
	fs := disk.NewMem()
	dir, err := snap.Open(fs, "/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	events := &unusable{}
	s := New(Options{Dir: dir, Keep: 2, Events: events})
	jobOf := func(index raft.Index, name string) job {
		state := replica.New(1, store.Options{})
		state.Index, state.Term, state.Members = index, 1, state.Members.With(replica.MemberInfo{ID: 1, Name: name})
		return job{Snapshot: state.Snapshot()}
	}
	if err := s.save(t.Context(), jobOf(7, "one")); err != nil {
		t.Fatal(err)
	}
	saved := make(chan error, 1)
	bad := jobOf(8, strings.Repeat("x", 17<<20)) // more than the head of any snapshot may have
	bad.done = saved
	if err := s.save(t.Context(), bad); err != nil {
		t.Fatalf("save = %v, and the member ends", err)
	}
	if err := <-saved; !errors.Is(err, snap.ErrUnusable) {
		t.Errorf("who waits is told %v", err)
	}
	if metas, err := dir.List(); err != nil || !slices.Equal(metas, []snap.Meta{{Term: 1, Index: 7}}) || s.front.Newest().Index != 7 || events.count != 1 {
		t.Errorf("snapshots %v, %v, the newest %d; counted: %d", metas, err, s.front.Newest().Index, events.count)
	}
}
