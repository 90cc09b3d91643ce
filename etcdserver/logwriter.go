package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/wal"
)

// reserveEvery is how often a member whose disk is full looks for room.
const reserveEvery = time.Second

// batchBytesMax is how much is written with one sync, in bytes, and one record more.
const batchBytesMax = 8 << 20

// bufferKept is the size up to which the scratch for payloads is used again, in bytes.
const bufferKept = 4 << 20

// logWriter owns the write-ahead log. It takes all writes that are waiting as
// one batch, syncs once, and says up to where the log is durable. Nothing else
// decides what may be acknowledged.
type logWriter struct {
	log      *wal.Log
	observer *Observer

	batches  chan []raft.Write // from the raft loop; unbuffered, so that it batches while this one syncs
	durable  chan uint64       // to the raft loop: the last sequence number that is on disk
	releases chan release      // from the snapshotter
	space    *space            // what room there is for growing writes (R8)
	retry    *time.Ticker

	segments int       // at the last look for room
	told     bool      // that the disk is full
	making   bool      // the snapshotter makes room
	unfit    bool      // its last snapshot did not fit
	lent     bool      // the spare segment's room, to the snapshot that is being written
	next     time.Time // when it may do so again

	slowest      atomic.Int64  // sync since the lookout asked last, ns
	spaceChanged chan struct{} // has room for one: full has another value

	records   []wal.Record // scratch
	buffer    []byte       // scratch: the records' payloads
	collected int          // bytes of payloads that wait to be flushed
	entry     pb.Entry     // scratch
	last      raft.Index   // last index written
}

// release is what the snapshotter asks of the log.
type release struct {
	upTo     raft.Index // entries that a snapshot covers
	keep     int        // segments to keep in any case; 0: all
	giveBack bool       // a snapshot needs the room of the spare segment

	made  bool          // all was done to make room
	saved bool          // with a newer snapshot
	unfit bool          // a newer snapshot did not fit
	took  time.Duration // that, from the call on

	done chan<- struct{} // closed when that is done; nil: nobody waits
}

func newLogWriter(log *wal.Log, space *space, observer *Observer) *logWriter {
	return &logWriter{
		space:    space,
		log:      log,
		observer: observer,
		batches:  make(chan []raft.Write),
		durable:  make(chan uint64),
		releases: make(chan release),

		spaceChanged: make(chan struct{}, 1),
	}
}

func (w *logWriter) run(ctx context.Context) error {
	w.retry = time.NewTicker(reserveEvery)
	defer w.retry.Stop()
	w.reserveIfAllowed(int64(w.log.Segments()) * w.space.segment)
	w.look(noEffort)
	for {
		select {
		case <-ctx.Done():
			return errLoopDone
		case batch := <-w.batches:
			if isLone(batch) {
				runtime.Gosched()
			}
			if err := w.writeAll(ctx, batch); err != nil {
				return err
			}
		case r := <-w.releases:
			if err := w.release(r); err != nil {
				return err
			}
		case <-w.retry.C:
			w.lookAgain(false)
		}
	}
}

// writeAll puts a batch on disk, about a segment's worth at a time: on a disk
// that is nearly full, what is durable can be applied, and released, before the
// rest is written.
func (w *logWriter) writeAll(ctx context.Context, batch []raft.Write) error {
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
		case w.durable <- seq:
		case <-ctx.Done():
			return errLoopDone
		}
		batch = batch[n:]
	}
	return nil
}

// isLone tells whether a batch is of lone writers. While there are no others the
// scheduler runs one goroutine at a time (internal/tuning), and a sync holds
// up the rest until the scheduler notices: what goes to other members shall be
// on its way before. With many writers a sync is too dear to let it wait.
func isLone(batch []raft.Write) bool {
	return len(batch) == 1 && len(batch[0].Entries) <= 4
}

// write puts a batch on disk, one that is big in pieces. When it returns without error all of it is there.
func (w *logWriter) write(ctx context.Context, batch []raft.Write) (uint64, error) {
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
func (w *logWriter) flush(ctx context.Context) error {
	if err := w.log.Append(w.records...); err != nil {
		return fmt.Errorf("etcdserver: write to the log: %w", err)
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	w.space.left.Store(w.log.Left())
	if w.log.Segments() != w.segments {
		w.look(noEffort)
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
func (w *logWriter) sync(ctx context.Context) error {
	for {
		start := time.Now()
		err := w.log.Sync()
		if err == nil {
			took := time.Since(start)
			w.observer.synced(took, uint64(w.last))
			if took > time.Duration(w.slowest.Load()) {
				w.slowest.Store(int64(took))
			}
			return nil
		}
		if !errors.Is(err, disk.ErrNoSpace) {
			return fmt.Errorf("etcdserver: sync the log: %w", err)
		}
		w.look(noEffort)
		if err := w.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// awaitRoom returns when it is worth trying again to write.
func (w *logWriter) awaitRoom(ctx context.Context) error {
	select {
	case r := <-w.releases:
		return w.release(r)
	case <-w.retry.C:
		w.lookAgain(true)
		return nil
	case <-ctx.Done():
		return errLoopDone
	}
}

// collect turns one write into records, the hard state last: a torn batch
// never leaves a commit index beyond the log.
func (w *logWriter) collect(ctx context.Context, write raft.Write) error {
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

func (w *logWriter) add(kind wal.Kind, index raft.Index, m message) error {
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

// release does what the snapshotter asks for.
func (w *logWriter) release(r release) error {
	if r.keep > 0 {
		if err := w.log.Release(uint64(r.upTo), r.keep); err != nil {
			return fmt.Errorf("etcdserver: purge the log: %w", err)
		}
	}
	switch {
	case r.giveBack:
		w.lent = w.log.Reserved()
		if err := w.log.GiveBack(); err != nil {
			return fmt.Errorf("etcdserver: make room for a snapshot: %w", err)
		}
	case r.made:
		w.making, w.next = false, time.Now().Add(roomPause*r.took)
		w.reserveAfter(r)
	}
	if r.done != nil {
		close(r.done)
	}
	if r.made {
		w.look(made)
	} else {
		w.look(noEffort)
	}
	return nil
}

// reserveAfter makes the spare segment when all was done to make room. If a
// snapshot did not fit, the log takes nothing of what there is for the next try.
func (w *logWriter) reserveAfter(r release) {
	lent := w.lent
	w.unfit, w.lent = r.unfit, false
	switch {
	case r.unfit:
		w.space.outgrown()
		if lent {
			w.reserve()
		}
	case r.saved && w.log.Segments() > 1 && !w.space.allowsSpare(w.space.little()):
		w.makeRoom() // the end of the log was not applied yet, and another segment would take the next snapshot's room
	default:
		w.reserve()
	}
}

// reserve makes the spare segment, if there is room for it. look tells, and of
// another error the next Sync does.
func (w *logWriter) reserve() { _ = w.log.Reserve() }

// reserveIfAllowed makes the spare segment if that leaves room for a snapshot
// that is longer than the last one by so much.
func (w *logWriter) reserveIfAllowed(growth int64) {
	if !w.log.Reserved() && w.space.allowsSpare(growth) {
		w.reserve()
	}
}

// lookAgain looks whether there is room by now. If the log is stuck there is no
// reason to save the work of another snapshot.
func (w *logWriter) lookAgain(stuck bool) {
	if w.making {
		return
	}
	w.reserveIfAllowed(w.space.little())
	if w.look(noEffort) == spaceFull && (stuck || time.Now().After(w.next)) {
		w.makeRoom()
	}
}

// look measures the room, and sees to it that it is made if there is too
// little, or if the log of a full disk has grown. The log takes no more room
// then, which a snapshot needs.
func (w *logWriter) look(e effort) uint32 {
	if w.making {
		e = making
	}
	grown := w.log.Segments() > w.segments
	w.segments = w.log.Segments()
	level := w.space.look(logRoom{segments: w.segments, left: w.log.Left(), reserved: w.log.Reserved()}, e)
	w.log.Frugal(level >= spaceTight)
	if level == spaceTight || level == spaceFull && grown {
		w.makeRoom()
	}
	if full := level == spaceFull; full != w.told && level != spaceTight {
		w.told = full
		w.observer.space(full)
		select {
		case w.spaceChanged <- struct{}{}:
		default:
		}
	}
	return level
}

// makeRoom has a snapshot written now, and the log released.
func (w *logWriter) makeRoom() {
	if !w.making {
		w.making = true
		w.space.call(!w.unfit)
	}
}
