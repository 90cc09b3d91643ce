package etcdserver

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"canopy/etcdserver/consistency"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/memberlog"
	"canopy/internal/disk"
	"canopy/store"
)

// InconsistentError ends a member whose state is not that of the majority. It
// cannot run again: the data directory has to be replaced.
type InconsistentError struct {
	Member ID
	Dir    string
}

// Error says what happened and what to do.
func (e *InconsistentError) Error() string {
	return fmt.Sprintf("the state of member %v differs from that of a majority of the members, so it must not be served: move its data directory %s away, and start it with --rejoin, or remove the member and add it again", e.Member, e.Dir)
}

// damage ends this member when its state turns out to be damaged: at once for its clients, and
// for the other members when they have been told why. A file in the data directory keeps the
// state from being served again. Any goroutine may read found.
type damage struct {
	self, cluster ID
	dir           datadir.Dir
	store         *store.Store
	comparison    *consistency.Comparison
	log           memberlog.Log
	found         atomic.Bool // the state must not be served
}

func (d *damage) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case index := <-d.comparison.Corrupt():
		text := fmt.Sprintf("the state of member %v at index %d differs from that of a majority of cluster %v\n", d.self, index, d.cluster)
		if err := disk.WriteFile(d.dir.FS, d.dir.Inconsistent(), []byte(text)); err != nil {
			d.log.EndNotRecorded(err)
		}
		d.found.Store(true)
		d.store.CloseWatchers(ErrInconsistent)
		select {
		case <-time.After(endAfter):
		case <-ctx.Done():
		}
		return &InconsistentError{Member: d.self, Dir: d.dir.Root}
	}
}
