package etcdserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/snap"
	"canopy/store"
)

// verify reads a snapshot back with the code that loads one, at a pace, and
// compares it with the state that was saved. It keeps nothing of it, so that it
// takes no memory for a second state. Only then the snapshot gets its name, and
// older ones and the log behind them may go.
func (s *snapshotter) verify(ctx context.Context, r io.Reader, job snapshotJob, hurried bool) error {
	err := verifyState(&politeReader{pace: pace{ctx: ctx, hurried: hurried}, from: r}, headOf(s.cluster, job.state, job.sessions), job.view.Hash())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return unusable(err)
}

// verifyState tells whether loadState would load the state with this head and
// this hash.
func verifyState(r io.Reader, want *pb.SnapshotHead, wantHash uint64) error {
	head, err := readHead(r)
	if err != nil {
		return err
	}
	got, err := head.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head that was read: %w", err)
	}
	saved, err := want.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the head that was saved: %w", err)
	}
	if !bytes.Equal(got, saved) {
		return errors.New("its head is not the one that was saved")
	}
	hash, err := store.Verify(r)
	if err != nil {
		return err
	}
	if hash != wantHash {
		return fmt.Errorf("it holds a tree with the hash %x, and not the one that was saved, %x", hash, wantHash)
	}
	return nil
}

// unusable marks what loading found wrong with a snapshot as the snapshot's own
// fault. That of another cluster, or of a newer program, is a good one
// elsewhere.
func unusable(err error) error {
	other := (*OtherClusterError)(nil)
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
