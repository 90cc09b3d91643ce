package logwriter

import (
	"context"
	"sync/atomic"
	"time"

	"canopy/raft"
)

// Front is what other goroutines use of a Writer. Any goroutine may call its methods.
type Front struct {
	space *Space

	batches     chan []raft.Write // unbuffered, so that the raft loop collects more while the writer syncs
	durable     chan uint64
	releases    chan release
	fullChanged chan struct{} // has room for one
	slowest     atomic.Int64  // sync since the last call of SlowestSync, ns
}

func newFront(space *Space) *Front {
	return &Front{
		space: space, batches: make(chan []raft.Write), durable: make(chan uint64), releases: make(chan release),
		fullChanged: make(chan struct{}, 1),
	}
}

// Batches takes what is to be written, in order. A receiver is there while the
// writer is idle.
func (f *Front) Batches() chan<- []raft.Write { return f.batches }

// Durable gives the sequence number of the last write that is on disk. The raft
// loop has to receive it.
func (f *Front) Durable() <-chan uint64 { return f.durable }

// Space is the room on the disk.
func (f *Front) Space() *Space { return f.space }

// FullChanged receives a value when the disk is full, and when it has room again.
func (f *Front) FullChanged() <-chan struct{} { return f.fullChanged }

// SlowestSync is the longest sync since the last call.
func (f *Front) SlowestSync() time.Duration { return time.Duration(f.slowest.Swap(0)) }

// recordSync is called by the writer alone.
func (f *Front) recordSync(took time.Duration) {
	if took > time.Duration(f.slowest.Load()) {
		f.slowest.Store(int64(took))
	}
}

// release is what the snapshotter asks of the writer.
type release struct {
	upTo raft.Index // entries that a snapshot covers
	keep int        // segments to keep in any case; 0: all
	lend bool       // a snapshot needs the room of the spare segment
	made *RoomMade  // not nil: all was done to make room

	done chan<- struct{} // closed when that is done; nil: nobody waits
}

// RoomMade is the result of an attempt to make room on the disk.
type RoomMade struct {
	Saved bool          // a newer snapshot was written
	Unfit bool          // a newer snapshot did not fit
	Took  time.Duration // from the call on
}

// Release lets the writer remove segments whose entries a snapshot covers, up to
// an index, and keep so many of them in any case; 0: all. It does not wait until
// they are removed.
func (f *Front) Release(ctx context.Context, upTo raft.Index, keep int) error {
	return f.send(ctx, release{upTo: upTo, keep: keep})
}

// ReleaseNow is Release, and waits until the segments are removed.
func (f *Front) ReleaseNow(ctx context.Context, upTo raft.Index, keep int) error {
	return f.ask(ctx, release{upTo: upTo, keep: keep})
}

// LendSpare gives the room of the spare segment to a snapshot.
func (f *Front) LendSpare(ctx context.Context) error { return f.ask(ctx, release{lend: true}) }

// ReportRoom answers a call for room (Space.Short).
func (f *Front) ReportRoom(ctx context.Context, made RoomMade) error {
	return f.ask(ctx, release{made: &made})
}

func (f *Front) send(ctx context.Context, r release) error {
	select {
	case f.releases <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask waits until the writer has done what it is asked for.
func (f *Front) ask(ctx context.Context, r release) error {
	done := make(chan struct{})
	r.done = done
	if err := f.send(ctx, r); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wake sends a value to a channel that has room for one, if it has none yet.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
