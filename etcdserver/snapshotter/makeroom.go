package snapshotter

import (
	"context"
	"fmt"
	"time"

	"canopy/etcdserver/logwriter"
	"canopy/raft"
	"canopy/snap"
)

// makeRoom releases all of the disk that it can, even what is kept while there is
// room: the log that the newest snapshot covers, and then, with a snapshot of the
// present state, what that covers.
func (s *Snapshotter) makeRoom(ctx context.Context) error {
	start := time.Now()
	state, err := s.Present(ctx)
	if err != nil {
		return err
	}
	newest, err := s.releaseAll(ctx, state.Head.Index)
	if err != nil {
		return err
	}
	var made logwriter.RoomMade
	if newest < state.Head.Index {
		if made.Saved, err = s.writeTightly(ctx, job{Snapshot: state}); err != nil {
			return err
		}
		made.Unfit = !made.Saved
		if _, err := s.releaseAll(ctx, state.Head.Index); err != nil {
			return err
		}
	}
	made.Took = time.Since(start)
	return s.Writer.ReportRoom(ctx, made)
}

// writeTightly writes a snapshot. If it does not fit, it is tried again in the room of
// the log's spare segment.
func (s *Snapshotter) writeTightly(ctx context.Context, job job) (saved bool, err error) {
	saved, err = s.write(ctx, job, true)
	if err != nil || saved {
		return saved, err
	}
	if err := s.Writer.LendSpare(ctx); err != nil {
		return false, err
	}
	return s.write(ctx, job, true)
}

// releaseAll keeps the newest snapshot of what is applied here, and the log from
// there on. It returns the index of that snapshot, 0 if there is none.
func (s *Snapshotter) releaseAll(ctx context.Context, applied raft.Index) (raft.Index, error) {
	metas, err := s.Dir.List()
	if err != nil {
		return 0, fmt.Errorf("etcdserver: list snapshots: %w", err)
	}
	for i, meta := range metas {
		if raft.Index(meta.Index) > applied {
			continue // a leader has sent it, and it may not become the state
		}
		if _, err := s.Dir.Purge(i + 1); err != nil {
			return 0, fmt.Errorf("etcdserver: purge snapshots: %w", err)
		}
		s.measure(meta)
		return raft.Index(meta.Index), s.Writer.ReleaseNow(ctx, raft.Index(meta.Index), 1)
	}
	return 0, nil
}

// measure records the size of the newest snapshot.
func (s *Snapshotter) measure(m snap.Meta) {
	if s.Writer != nil {
		Measure(s.Dir, m, s.Writer.Space())
	}
}

// Measure records the size of a snapshot, which is the newest. If its file is gone,
// another one is newer.
func Measure(dir *snap.Dir, m snap.Meta, space *logwriter.Space) {
	if size, err := dir.Size(m); err == nil {
		space.SnapshotSaved(size)
	}
}
