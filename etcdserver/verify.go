package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"

	"canopy/etcdserver/replica"
	"canopy/snap"
	"canopy/store"
)

// verify reads a snapshot back with the code that loads one, at a pace, and
// compares it with the state that was saved. It keeps nothing of it, so that it
// takes no memory for a second state. Only then the snapshot gets its name, and
// older ones and the log behind them may go.
func (s *snapshotter) verify(ctx context.Context, r io.Reader, job snapshotJob, hurried bool) error {
	err := job.Verify(&politeReader{pace: pace{ctx: ctx, hurried: hurried}, from: r})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unusable(err)
}

// unusable marks what loading found wrong with a snapshot as the snapshot's own
// fault. That of another cluster, or of a newer program, is a good one
// elsewhere.
func unusable(err error) error {
	other := (*replica.OtherClusterError)(nil)
	if err == nil || errors.As(err, &other) || errors.Is(err, store.ErrNewerFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", snap.ErrUnusable, err)
}

// isSpoiled tells whether loading failed for what a snapshot is: damaged, or no
// state that can be loaded.
func isSpoiled(err error) bool {
	corrupt := (*snap.CorruptError)(nil)
	return errors.Is(err, snap.ErrUnusable) || errors.As(err, &corrupt)
}
