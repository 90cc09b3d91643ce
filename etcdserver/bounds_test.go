package etcdserver

import (
	"context"
	"sync"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/raft"
	"canopy/store"
)

// TestNothingIsAppliedBeforeItIsCommitted: what a member tells of itself does not contradict itself under load.
func TestNothingIsAppliedBeforeItIsCommitted(t *testing.T) {
	o := testOptions(disk.NewMem())
	o.Heartbeat, o.Election = 100*time.Millisecond, time.Second
	m, key := start(t, o), mustKey(t, "k")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() {
		for ctx.Err() == nil {
			if _, err := m.Do(ctx, store.Set{Key: key, Value: "v"}); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for begin, _ := m.Position(); ; {
		applied, _ := m.Position()
		s := m.Status()
		if s.Applied < raft.Index(applied) || s.Commit < s.Applied {
			t.Fatalf("entry %d is applied; by the status %d are, and %d committed", applied, s.Applied, s.Commit)
		}
		if applied > begin+100 {
			return
		}
	}
}
