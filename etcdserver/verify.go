package etcdserver

import (
	"context"
	"io"

	"canopy/etcdserver/datadir"
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
	return datadir.Unusable(err)
}
