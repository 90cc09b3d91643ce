// Package snapshotter writes snapshots of a member's state, beside its apply loop.
//
//	apply loop ── Schedule ──▶ Snapshotter ──▶ file, read back and compared
//	snapshot sender ── Front ──▶    │
//	the disk is nearly full ──▶     └──▶ older snapshots and log are released
//
// A snapshot is trusted only after it was read back by the code that loads one. Until
// then older snapshots, and the whole log after them, are kept.
package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
)

// Events are told what happens, in the snapshotter's goroutine. They return at once.
type Events interface {
	SnapshotSaved(index raft.Index, bytes int64, took time.Duration)
	SnapshotFailed(index raft.Index, err error)   // the disk has no room: it is tried again
	SnapshotUnusable(index raft.Index, err error) // it was written, and cannot be loaded
}

// Options say what a Snapshotter works with.
type Options struct {
	Dir      *snap.Dir
	Keep     int // snapshots kept; 0: all
	KeepLogs int // log segments kept; 0: all
	Writer   *logwriter.Front
	Present  func(ctx context.Context) (replica.Snapshot, error) // the state that the apply loop has now
	Events   Events
}

// Snapshotter writes one snapshot at a time. Only the goroutine of Run calls its
// other methods.
type Snapshotter struct {
	Options
	front *Front
}

// New makes a Snapshotter that is not running.
func New(o Options) *Snapshotter {
	return &Snapshotter{Options: o, front: &Front{jobs: make(chan job), saved: make(chan int64, 1)}}
}

// Front is for the other goroutines.
func (s *Snapshotter) Front() *Front { return s.front }

// Front is what other goroutines use of a Snapshotter. Any goroutine may call its methods.
type Front struct {
	jobs   chan job   // unbuffered: a job is taken or left for later
	saved  chan int64 // has room for one: bytes of the last snapshot, before compression
	newest atomic.Pointer[raft.SnapshotMeta]
}

type job struct {
	replica.Snapshot
	done chan<- error // has room for one; nil: nobody waits
}

// Newest is the newest snapshot that this process has saved, or nil.
func (f *Front) Newest() *raft.SnapshotMeta { return f.newest.Load() }

// Save writes a snapshot, after the one that is being written, if there is one.
func (f *Front) Save(ctx context.Context, state replica.Snapshot) error {
	done := make(chan error, 1)
	select {
	case f.jobs <- job{state, done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes snapshots until ctx ends, whose error it returns then, or until the disk fails.
func (s *Snapshotter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case job := <-s.front.jobs:
			if err := s.save(ctx, job); err != nil {
				return err
			}
		case <-s.Writer.Space().Short():
			if err := s.makeRoom(ctx); err != nil {
				return err
			}
		}
	}
}

// save writes one snapshot, then releases older ones and the log before them.
func (s *Snapshotter) save(ctx context.Context, job job) error {
	saved, err := s.write(ctx, job, false)
	if err != nil || !saved {
		return err
	}
	return s.purge(ctx)
}

// write writes one snapshot, without rests if it is hurried. If the disk is full, if
// file descriptors are short, or if the snapshot cannot be loaded, it is tried again
// later: older snapshots and the whole log are intact. A member that ends does not
// wait for its snapshot.
func (s *Snapshotter) write(ctx context.Context, job job, hurried bool) (saved bool, err error) {
	start := time.Now()
	counter := &pacedWriter{pace: pace{ctx: ctx, hurried: hurried}}
	err = s.Dir.SavePaced(datadir.SnapMeta(job.Head), func(w io.Writer) error {
		counter.to = w
		return job.Save(counter)
	}, func(r io.Reader) error { return s.verify(ctx, r, job, hurried) })
	if err == nil {
		newest := job.Head.RaftMeta()
		s.front.newest.Store(&newest)
		s.measure(datadir.SnapMeta(job.Head))
	}
	if job.done != nil {
		job.done <- err
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return false, ctx.Err()
	}
	if errors.Is(err, disk.ErrNoSpace) || errors.Is(err, disk.ErrScarce) {
		s.Events.SnapshotFailed(job.Head.Index, err)
		return false, nil
	}
	if errors.Is(err, snap.ErrUnusable) {
		s.Events.SnapshotUnusable(job.Head.Index, err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("etcdserver: save a snapshot: %w", err)
	}
	s.Events.SnapshotSaved(job.Head.Index, counter.bytes, time.Since(start))
	select {
	case s.front.saved <- counter.bytes:
	default:
	}
	return true, nil
}

// purge keeps the second newest snapshot and the log after it: if the newest is found
// to be damaged, they are still whole (B59, R6). Both were loaded: by the start, when
// they were received, or by verify.
func (s *Snapshotter) purge(ctx context.Context) error {
	if s.Keep > 0 {
		if _, err := s.Dir.Purge(max(2, s.Keep)); err != nil {
			return fmt.Errorf("etcdserver: purge snapshots: %w", err)
		}
	}
	metas, err := s.Dir.List()
	if err != nil {
		return fmt.Errorf("etcdserver: list snapshots: %w", err)
	}
	if len(metas) < 2 {
		return nil
	}
	return s.Writer.Release(ctx, raft.Index(metas[1].Index), s.KeepLogs)
}

// verify reads a snapshot back with the code that loads one, at a pace, and
// compares it with the state that was saved. It keeps nothing of it, so it needs no
// memory for a second state. Only then the snapshot gets its name, and older ones and
// the log before them may be removed.
func (s *Snapshotter) verify(ctx context.Context, r io.Reader, job job, hurried bool) error {
	err := job.Verify(&pacedReader{pace: pace{ctx: ctx, hurried: hurried}, from: r})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return datadir.Unusable(err)
}
