package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
)

// manyBytes of log are enough for a snapshot, however few entries they are.
const manyBytes = 256 << 20

// A snapshot is due when the log since the last one weighs so many times what
// the state does, or outweighs it by so many bytes.
const (
	logToState   = 16
	outweighedBy = 32 << 20
)

// snapshotter writes snapshots, one at a time, beside the apply loop. For one
// to be due at least minEntries must have been applied, too, or manyBytes. So
// its cost stays a small share of the writes however large the tree is, and a
// restart, which takes far longer to replay a byte of log than to load one of
// state, stays short: outweighedBy takes less than a second.
type snapshotter struct {
	dir      *snap.Dir
	observer *Observer
	log      memberLog

	minEntries uint64
	keep       int // snapshots kept; 0: all
	keepLogs   int // log segments kept; 0: all

	jobs     chan snapshotJob // unbuffered: a job is taken or left for later
	releases chan<- release
	space    *space
	demands  chan<- chan<- snapshotJob // to the apply loop: the present state is wanted

	// The apply loop's own.
	growth   datadir.Growth // since the last job
	state    int64          // bytes of the last snapshot, before compression
	rng      *rand.Rand
	patience float64 // by how much the next one is put off, so that members do not all write at the same time
	finished chan int64

	newest atomic.Pointer[raft.SnapshotMeta] // saved by this process
}

type snapshotJob struct {
	replica.Snapshot
	saved chan<- error // has room for one; nil: nobody waits
}

// installed begins to count anew behind a snapshot that was received.
func (s *snapshotter) installed(i *installation) {
	s.growth, s.state = datadir.Growth{}, i.bytes
}

// consider hands the present state to the writer if a snapshot is due. The
// apply loop calls it after each publication.
func (s *snapshotter) consider(present func() snapshotJob) {
	select {
	case s.state = <-s.finished:
	default:
	}
	due := float64(s.growth.Entries) >= float64(s.minEntries)*(1+s.patience) || s.growth.Bytes >= manyBytes
	weight := min(logToState*s.state, s.state+outweighedBy)
	if !due || float64(s.growth.Bytes) < float64(weight)*(1+s.patience) {
		return
	}
	select {
	case s.jobs <- present():
		s.growth = datadir.Growth{}
		s.patience = s.rng.Float64() / 2
	default: // one is being written
	}
}

func (s *snapshotter) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errLoopDone
		case job := <-s.jobs:
			if err := s.save(ctx, job); err != nil {
				return err
			}
		case <-s.space.short:
			if err := s.makeRoom(ctx); err != nil {
				return err
			}
		}
	}
}

// save writes one snapshot, then lets older ones and the log behind them go.
func (s *snapshotter) save(ctx context.Context, job snapshotJob) error {
	saved, err := s.write(ctx, job, false)
	if err != nil || !saved {
		return err
	}
	return s.purge(ctx)
}

// write writes one snapshot, without rests if it is hurried. A full disk, or a want
// of descriptors, only puts it off: older snapshots and the whole log are intact.
// So do a snapshot that cannot be loaded, and the end of the member, which does
// not wait for it.
func (s *snapshotter) write(ctx context.Context, job snapshotJob, hurried bool) (saved bool, err error) {
	start := time.Now()
	counter := &politeWriter{pace: pace{ctx: ctx, hurried: hurried}}
	err = s.dir.SavePaced(datadir.SnapMeta(job.Head), func(w io.Writer) error {
		counter.to = w
		return job.Save(counter)
	}, func(r io.Reader) error { return s.verify(ctx, r, job, hurried) })
	if err == nil {
		newest := job.Head.RaftMeta()
		s.newest.Store(&newest)
		s.weigh(datadir.SnapMeta(job.Head))
	}
	if job.saved != nil {
		job.saved <- err
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return false, errLoopDone
	}
	if errors.Is(err, disk.ErrNoSpace) || errors.Is(err, disk.ErrScarce) {
		s.log.snapshotFailed(job.Head.Index, err)
		return false, nil
	}
	if errors.Is(err, snap.ErrUnusable) {
		s.log.snapshotUnusable(job.Head.Index, err)
		s.observer.snapshotUnusable()
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("etcdserver: save a snapshot: %w", err)
	}
	s.observer.snapshotSaved(counter.bytes, time.Since(start))
	s.log.snapshotSaved(job.Head.Index)
	select {
	case s.finished <- counter.bytes:
	default:
	}
	return true, nil
}

// purge keeps the log behind the second newest snapshot: should the newest be
// found damaged, the one before and the log after it are still whole (B59, R6).
// Both were loaded: by the start, when they were received, or by verify.
func (s *snapshotter) purge(ctx context.Context) error {
	if s.keep > 0 {
		if _, err := s.dir.Purge(max(2, s.keep)); err != nil {
			return fmt.Errorf("etcdserver: purge snapshots: %w", err)
		}
	}
	metas, err := s.dir.List()
	if err != nil {
		return fmt.Errorf("etcdserver: list snapshots: %w", err)
	}
	if len(metas) < 2 {
		return nil
	}
	select {
	case s.releases <- release{upTo: raft.Index(metas[1].Index), keep: s.keepLogs}:
		return nil
	case <-ctx.Done():
		return errLoopDone
	}
}
