package etcdserver

import (
	"context"
	"fmt"
	"time"

	"canopy/raft"
	"canopy/snap"
)

// makeRoom gives back what it can of the disk, whatever the rules say about what
// is kept while there is room: all that the newest snapshot covers, and then, with
// a snapshot of the present state, what that covers.
func (s *snapshotter) makeRoom(ctx context.Context) error {
	start := time.Now()
	job, err := s.present(ctx)
	if err != nil {
		return err
	}
	newest, err := s.releaseAll(ctx, job.Head.Index)
	if err != nil {
		return err
	}
	r := release{made: true}
	if newest < job.Head.Index {
		if r.saved, err = s.squeezeIn(ctx, job); err != nil {
			return err
		}
		r.unfit = !r.saved
		if _, err := s.releaseAll(ctx, job.Head.Index); err != nil {
			return err
		}
	}
	r.took = time.Since(start)
	return s.ask(ctx, r)
}

// present is the state that the apply loop has.
func (s *snapshotter) present(ctx context.Context) (snapshotJob, error) {
	wanted := make(chan snapshotJob, 1)
	select {
	case s.demands <- wanted:
		return <-wanted, nil
	case <-ctx.Done():
		return snapshotJob{}, errLoopDone
	}
}

// squeezeIn writes a snapshot, in the place of the log's spare segment if need be.
func (s *snapshotter) squeezeIn(ctx context.Context, job snapshotJob) (saved bool, err error) {
	saved, err = s.write(ctx, job, true)
	if err != nil || saved {
		return saved, err
	}
	if err := s.ask(ctx, release{giveBack: true}); err != nil {
		return false, err
	}
	return s.write(ctx, job, true)
}

// releaseAll keeps the newest snapshot of what is applied here, and the log from
// there on. It returns the index of that snapshot, 0 if there is none.
func (s *snapshotter) releaseAll(ctx context.Context, applied raft.Index) (raft.Index, error) {
	metas, err := s.dir.List()
	if err != nil {
		return 0, fmt.Errorf("etcdserver: list snapshots: %w", err)
	}
	for i, meta := range metas {
		if raft.Index(meta.Index) > applied {
			continue // a leader has sent it, and it may not become the state
		}
		if _, err := s.dir.Purge(i + 1); err != nil {
			return 0, fmt.Errorf("etcdserver: purge snapshots: %w", err)
		}
		s.weigh(meta)
		return raft.Index(meta.Index), s.ask(ctx, release{upTo: raft.Index(meta.Index), keep: 1})
	}
	return 0, nil
}

// ask has the log writer do something, and waits until it is done.
func (s *snapshotter) ask(ctx context.Context, r release) error {
	done := make(chan struct{})
	r.done = done
	select {
	case s.releases <- r:
	case <-ctx.Done():
		return errLoopDone
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errLoopDone
	}
}

// weigh notes how long the newest snapshot is. Without its file, another is about to be.
func (s *snapshotter) weigh(m snap.Meta) {
	if size, err := s.dir.Size(m); err == nil && s.space != nil {
		s.space.snapshot.Store(size)
	}
}
