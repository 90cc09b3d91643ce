// Package logwriter writes the log of a running member to disk.
//
//	raft loop ──batches──▶ Writer ──durable──▶ raft loop
//	                         ▲  │
//	          release, lend  │  │ call: the disk is nearly full
//	                      snapshotter
//
// A Writer takes all writes that wait as one batch, syncs once, and says up to
// where the log is durable: nothing else decides what may be acknowledged. Space
// measures the disk, and decides which commands it still has room for.
//
// The goroutine of Writer.Run owns the log. All others use a Front.
package logwriter

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/wal"
)

// measureEvery is how often a member whose disk is full looks for room.
const measureEvery = time.Second

// batchBytesMax is how much is written with one sync, in bytes, and one record more.
const batchBytesMax = 8 << 20

// bufferKept is the size up to which the scratch for payloads is used again, in bytes.
const bufferKept = 4 << 20

// Events are told what happens, in the writer's goroutine. They return at once.
type Events interface {
	Synced(took time.Duration, lastIndex uint64)
	DiskFull(full bool) // the disk is full, or has room again
}

// Options say what a Writer works with. All are required, except Snapshot.
type Options struct {
	Log         *wal.Log
	Segment     int64                     // bytes of one segment of the log
	Room        func() (disk.Room, error) // of the disk that snapshots are on
	Snapshot    int64                     // bytes of the newest snapshot; 0: there is none
	InFlightMax int64                     // bytes of all requests that wait for the log
	Stopped     <-chan struct{}           // closed when the member has stopped
	Events      Events
}

// Writer owns the write-ahead log. Only the goroutine of Run calls its other methods;
// Close is called after Run, or without it.
type Writer struct {
	log    *wal.Log
	events Events
	front  *Front
	space  *Space // that of front
	retry  *time.Ticker

	segments int       // when the room was measured last
	told     bool      // Events know that the disk is full
	making   bool      // the snapshotter makes room
	unfit    bool      // its last snapshot did not fit
	lent     bool      // the spare segment's room, to the snapshot that is being written
	next     time.Time // when the snapshotter may make room again

	records   []wal.Record // scratch
	buffer    []byte       // scratch: the records' payloads
	collected int          // bytes of payloads that wait to be flushed
	entry     pb.Entry     // scratch
	last      raft.Index   // last index written
}

// New makes a Writer that is not running.
func New(o Options) *Writer {
	space := newSpace(o)
	return &Writer{log: o.Log, events: o.Events, space: space, front: newFront(space)}
}

// Front is for the other goroutines.
func (w *Writer) Front() *Front { return w.front }

// Close closes the log of a Writer that is not running.
func (w *Writer) Close() error { return w.log.Close() }

// Run writes until ctx ends, whose error it returns then, or until the disk fails.
func (w *Writer) Run(ctx context.Context) error {
	w.retry = time.NewTicker(measureEvery)
	defer w.retry.Stop()
	w.reserveIfAllowed(int64(w.log.Segments()) * w.space.segment)
	w.measure(noEffort)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batch := <-w.front.batches:
			if isLone(batch) {
				runtime.Gosched()
			}
			if err := w.writeAll(ctx, batch); err != nil {
				return err
			}
		case r := <-w.front.releases:
			if err := w.release(r); err != nil {
				return err
			}
		case <-w.retry.C:
			w.retryRoom(false)
		}
	}
}

// writeAll puts a batch on disk, about a segment's worth at a time: on a disk
// that is nearly full, what is durable can be applied, and released, before the
// rest is written.
func (w *Writer) writeAll(ctx context.Context, batch []raft.Write) error {
	for len(batch) > 0 {
		n, bytes := 0, int64(0)
		for n < len(batch) && (n == 0 || bytes < w.space.segment) {
			for _, e := range batch[n].Entries {
				bytes += int64(len(e.Data))
			}
			n++
		}
		seq, err := w.write(ctx, batch[:n])
		if err != nil {
			return err
		}
		select {
		case w.front.durable <- seq:
		case <-ctx.Done():
			return ctx.Err()
		}
		batch = batch[n:]
	}
	return nil
}

// isLone tells whether a batch has few entries. While few clients write, the scheduler
// runs one goroutine at a time (internal/tuning), and a sync keeps the others from
// running until the scheduler notices. So messages to other members are sent before
// the sync. With many writers the sync is too expensive to be delayed.
func isLone(batch []raft.Write) bool {
	return len(batch) == 1 && len(batch[0].Entries) <= 4
}

// write puts a batch on disk, one that is big in pieces. When it returns without error all of it is there.
func (w *Writer) write(ctx context.Context, batch []raft.Write) (uint64, error) {
	for _, write := range batch {
		if err := w.collect(ctx, write); err != nil {
			return 0, err
		}
	}
	if err := w.flush(ctx); err != nil {
		return 0, err
	}
	return batch[len(batch)-1].Seq, nil
}

// flush puts on disk what was collected.
func (w *Writer) flush(ctx context.Context) error {
	if err := w.log.Append(w.records...); err != nil {
		return fmt.Errorf("etcdserver: write to the log: %w", err)
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	w.space.left.Store(w.log.Left())
	if w.log.Segments() != w.segments {
		w.measure(noEffort)
	}
	clear(w.records)
	w.entry.Data = nil
	if cap(w.buffer) > bufferKept {
		w.buffer = nil
	}
	w.records, w.buffer, w.collected = w.records[:0], w.buffer[:0], 0
	return nil
}

// sync makes what was appended durable. When even the reserve is used up it
// waits for room: nothing was written, and nothing is acknowledged meanwhile.
func (w *Writer) sync(ctx context.Context) error {
	for {
		start := time.Now()
		err := w.log.Sync()
		if err == nil {
			took := time.Since(start)
			w.events.Synced(took, uint64(w.last))
			w.front.recordSync(took)
			return nil
		}
		if !errors.Is(err, disk.ErrNoSpace) {
			return fmt.Errorf("etcdserver: sync the log: %w", err)
		}
		w.measure(noEffort)
		if err := w.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// awaitRoom returns when another try to write makes sense.
func (w *Writer) awaitRoom(ctx context.Context) error {
	select {
	case r := <-w.front.releases:
		return w.release(r)
	case <-w.retry.C:
		w.retryRoom(true)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collect turns one write into records, the hard state last: a torn batch
// never leaves a commit index beyond the log.
func (w *Writer) collect(ctx context.Context, write raft.Write) error {
	if s := write.Snapshot; s != nil {
		if err := w.add(datadir.SnapshotRecord, s.Index, &pb.SnapshotMark{Term: uint64(s.Term)}); err != nil {
			return err
		}
		w.last = s.Index
	}
	for _, e := range write.Entries {
		w.entry.Term, w.entry.Type, w.entry.Data = uint64(e.Term), uint32(e.Type), e.Data
		if err := w.add(datadir.EntryRecord, e.Index, &w.entry); err != nil {
			return err
		}
		w.last = e.Index
		if w.collected >= batchBytesMax {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	if h := write.HardState; h != nil {
		m := pb.HardState{Term: uint64(h.Term), Vote: uint64(h.Vote), Commit: uint64(h.Commit)}
		return w.add(datadir.HardStateRecord, 0, &m)
	}
	return nil
}

type message interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

func (w *Writer) add(kind wal.Kind, index raft.Index, m message) error {
	size := m.SizeVT()
	begin := len(w.buffer)
	if cap(w.buffer)-begin < size {
		w.buffer = make([]byte, 0, max(size, 2*cap(w.buffer), 64<<10)) // earlier payloads keep the old one alive
		begin = 0
	}
	w.buffer = w.buffer[:begin+size]
	if _, err := m.MarshalToSizedBufferVT(w.buffer[begin:]); err != nil {
		return fmt.Errorf("etcdserver: encode a log record: %w", err)
	}
	w.collected += size
	w.records = append(w.records, wal.Record{Kind: kind, Index: uint64(index), Payload: w.buffer[begin:]})
	return nil
}
