package logwriter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/raft"
	"canopy/wal"
)

// counts are the events of a Writer.
type counts struct{ syncs int }

func (c *counts) Synced(time.Duration, uint64) { c.syncs++ }
func (c *counts) DiskFull(bool)                {}

// TestBatchesAreBoundedInBytes: large entries are written a few at a time, small ones many.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	const count = 40
	for _, c := range []struct{ bytes, syncsMin, syncsMax int }{{64, 1, 1}, {1 << 20, count / 8, count / 4}} {
		log, err := wal.Create(disk.NewMem(), "/wal", nil, wal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var entries []raft.Entry
		for i := range count {
			entries = append(entries, raft.Entry{Index: raft.Index(i + 1), Term: 1, Data: make([]byte, c.bytes)})
		}
		events := &counts{}
		w := New(Options{Log: log, Segment: 16 << 20, Room: func() (disk.Room, error) { return disk.Endless, nil }, Events: events})
		hard := raft.HardState{Term: 1}
		if seq, err := w.write(t.Context(), []raft.Write{{Seq: 3, Entries: entries, HardState: &hard}}); err != nil || seq != 3 {
			t.Fatalf("write %d, %v", seq, err)
		}
		if events.syncs < c.syncsMin || events.syncs > c.syncsMax {
			t.Errorf("%d entries of %d bytes took %d syncs, want %d to %d", count, c.bytes, events.syncs, c.syncsMin, c.syncsMax)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestASnapshotBehindTheLogIsFollowedByAnother: a snapshot that makes room may be of a state
// before the last segment began, and release nothing. The log does not take the room that the
// next one needs.
func TestASnapshotBehindTheLogIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segment, snapshotBytes = 8 << 10, 20 << 10
		fs := disk.NewMem()
		log, err := wal.Create(fs, "/wal", nil, wal.Options{SegmentBytes: segment})
		if err != nil {
			t.Fatal(err)
		}
		fs.SetCapacity(2*segment + snapshotBytes + segment/2) // beside the snapshot that there is
		w := New(Options{
			Log: log, Segment: segment, Snapshot: snapshotBytes, InFlightMax: 1 << 30, Events: &counts{},
			Room: func() (disk.Room, error) { return fs.Room("/wal") },
		})
		f := w.Front()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		defer func() { stop(); <-done }()
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		<-f.Space().Short() // the disk is small
		check(f.ReportRoom(ctx, RoomMade{}))
		index := raft.Index(0)
		write := func() {
			index++
			f.Batches() <- []raft.Write{{Seq: uint64(index), Entries: []raft.Entry{{Index: index, Term: 1, Data: make([]byte, 1000)}}}}
			<-f.Durable()
			synctest.Wait()
		}
		for log.Segments() < 2 {
			write()
		}
		<-f.Space().Short()
		check(f.ReleaseNow(ctx, index-2, 1))
		check(f.ReportRoom(ctx, RoomMade{Saved: true}))
		<-f.Space().Short()
		if free := f.Space().Status().Free; free < snapshotBytes {
			t.Errorf("%d bytes are free, and the next snapshot has %d", free, snapshotBytes)
		}
		check(f.ReleaseNow(ctx, index, 1))
		check(f.ReportRoom(ctx, RoomMade{Saved: true}))
		for log.Segments() < 2 {
			write() // there is a spare segment
		}
	})
}
