package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"canopy/etcdserver/replica"
	"canopy/internal/disk"
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
			s := &snapshotter{minEntries: 10_000, jobs: make(chan snapshotJob, 1), rng: Options{}.rng(snapshotRNG)}
			s.growth.Entries, s.growth.Bytes, s.state, s.patience = c.entries, c.log, c.state, c.patience
			s.consider(func() snapshotJob { return snapshotJob{} })
			if due := len(s.jobs) == 1; due != c.due {
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
	s := &snapshotter{dir: dir}
	saved := make(chan error, 1)
	job := snapshotJob{Snapshot: replica.New(1, store.Options{}).Snapshot(), saved: saved}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.save(ctx, job); !errors.Is(err, errLoopDone) {
		t.Errorf("save = %v, want the end of the loop", err)
	}
	if err := <-saved; !errors.Is(err, context.Canceled) {
		t.Errorf("who waits is told %v", err)
	}
	if names, err := fs.List("/snap"); err != nil || len(names) != 0 {
		t.Errorf("%v is left, %v", names, err)
	}
}
