package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"canopy/internal/disk"
)

// batchBytesKept is the largest buffer of a batch that is kept for the next one.
const batchBytesKept = 4 << 20

// padded fills this many bytes of a segment with zeros at a time. It begins with few and doubles their number each time,
// since they take memory that a log of few records does not need otherwise.
const (
	firstAheadBytes = 16 << 10
	aheadBytes      = 256 << 10
)

var zeros [aheadBytes]byte

// Append adds records to the batch that the next Sync writes. It copies them and does no I/O. On an error it adds none of
// them.
func (l *Log) Append(records ...Record) error {
	if err := l.ready(); err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		if r.Kind == 0 {
			return fmt.Errorf("wal: append record %d: its kind is 0", r.Index)
		}
		if int64(len(r.Payload)) > l.o.MaxRecordBytes {
			return fmt.Errorf("wal: append record %d: %d bytes, at most %d are allowed", r.Index, len(r.Payload),
				l.o.MaxRecordBytes)
		}
	}
	for _, r := range records {
		l.batch = appendFrame(l.batch, r)
	}
	return nil
}

// Sync brings all records that were appended to disk, with one write and one sync. If the error matches disk.ErrNoSpace,
// nothing was written: the log keeps the batch, and Sync can be called again when there is room. After any other error it
// is unknown what is on disk, and all further calls return this error.
func (l *Log) Sync() error {
	if err := l.ready(); err != nil {
		return err
	}
	if len(l.batch) == 0 {
		return nil
	}
	if err := l.ensureRoom(int64(len(l.batch))); err != nil {
		return err
	}
	chain := seal(l.batch, l.offset, l.current().seed, l.chain)
	if err := l.write(l.padded()); err != nil {
		return l.fail("write", err)
	}
	l.chain = chain
	l.begun = true
	l.offset = roundUp(l.offset+int64(len(l.batch)), sectorBytes)
	l.endBatch()
	return nil
}

// padded returns the batch, filled with zeros up to the end of its last sector. If the batch reaches blocks that nothing
// was written to yet, padded adds zeros for the blocks behind it, which read as zeros anyway. The first write to an
// allocated block costs a second write, in which the file system records that the block is in use; with the zeros most
// batches need no second write, and take a third less time. Large batches get no extra zeros, since they save little.
func (l *Log) padded() []byte {
	end := l.offset + int64(len(l.batch))
	to := min(roundUp(end, sectorBytes), l.room)
	if end > l.written && !l.o.NoSync && len(l.batch) <= aheadBytes/4 {
		l.ahead = min(max(2*l.ahead, firstAheadBytes), aheadBytes)
		to = min(to+l.ahead-sectorBytes, l.room)
		l.written = to
	}
	padded := append(l.batch, zeros[:to-end]...)
	l.batch = padded[:len(l.batch)]
	return padded
}

func (l *Log) write(b []byte) error {
	if l.o.NoSync {
		_, err := l.file.WriteAt(b, l.offset)
		return err
	}
	return l.file.WriteSync(b, l.offset)
}

// ready returns the reason why the log takes no records, or nil.
func (l *Log) ready() error {
	if l.failed != nil {
		return l.failed
	}
	if l.file == nil {
		return ErrNotReplayed
	}
	return nil
}

// fail makes an error final.
func (l *Log) fail(doing string, err error) error {
	l.failed = &failure{cause: fmt.Errorf("%s %s: %w", doing, filepath.Join(l.dir, l.current().name()), err)}
	return l.failed
}

// failUnlessFull makes an error final unless the disk is full. Nothing was written before the error.
func (l *Log) failUnlessFull(doing string, err error) error {
	if errors.Is(err, disk.ErrNoSpace) {
		return err
	}
	return l.fail(doing, err)
}

func (l *Log) current() segment { return l.segments[len(l.segments)-1] }

func (l *Log) sync(f disk.File) error {
	if l.o.NoSync {
		return nil
	}
	return f.Sync()
}

// endBatch follows the records of a batch that was synced, and empties it.
func (l *Log) endBatch() {
	frames(l.batch, func(_ int64, frame []byte) {
		l.follow(decodeHeader(frame), frame[frameHeaderBytes:len(frame)-frameEndBytes])
	})
	if l.batch = l.batch[:0]; cap(l.batch) > batchBytesKept {
		l.batch = nil
	}
}

// follow keeps the newest state of each kind, and the last index.
func (l *Log) follow(h header, payload []byte) {
	if h.index != 0 {
		l.last = h.index
		return
	}
	for i := range l.states {
		if l.states[i].kind == h.kind {
			l.states[i].payload = append(l.states[i].payload[:0], payload...)
			return
		}
	}
	l.states = append(l.states, state{kind: h.kind, payload: append([]byte{}, payload...)})
}

// ensureRoom makes sure that a batch of this many bytes can be written although the disk is full: in this segment, or in
// the next one. A batch that is larger than a segment gets a larger one.
func (l *Log) ensureRoom(bytes int64) error {
	if l.offset+bytes <= l.room {
		return nil
	}
	if l.begun {
		if err := l.reserveMore(); err != nil {
			return l.failUnlessFull("make a segment after", err)
		}
		if err := l.cut(l.current().sequence+1, l.nextFirst()); err != nil {
			return l.fail("begin a segment after", err)
		}
		l.reserveIfRoom()
	}
	if l.offset+bytes <= l.room {
		return nil
	}
	if err := l.file.Allocate(l.offset + bytes); err != nil {
		return l.failUnlessFull("allocate", err)
	}
	l.room = l.offset + bytes
	return nil
}

// nextFirst returns the lowest index that can be in a segment that begins with this batch.
func (l *Log) nextFirst() uint64 {
	first := l.last + 1
	frames(l.batch, func(_ int64, frame []byte) {
		if index := binary.LittleEndian.Uint64(frame[atIndex:]); index != 0 {
			first = min(first, index)
		}
	})
	return first
}

// cut turns the spare segment into the new last segment. Header and states are synced before the file gets its name, and
// the name before a batch is written to it. So no crash leaves a gap between segments.
func (l *Log) cut(sequence, first uint64) error {
	s := segment{sequence: sequence, first: first, seed: l.chain, start: segmentStart(l.meta)}
	head := appendSegmentHeader(nil, s, l.meta)
	var states []byte
	for _, st := range l.states {
		states = appendFrame(states, Record{Kind: st.kind, Payload: st.payload})
	}
	chain := seal(states, s.start, s.seed, l.chain)
	head = append(head, states...)

	spare := filepath.Join(l.dir, spareName)
	f, err := l.fs.Open(spare)
	if err != nil {
		return err
	}
	if err := l.begin(f, head, spare, s); err != nil {
		return errors.Join(err, f.Close())
	}
	old, room := l.file, max(l.spare, int64(len(head)))
	l.spare = 0
	l.segments = append(l.segments, s)
	l.file, l.chain, l.begun, l.written = f, chain, false, 0
	l.offset, l.room = roundUp(int64(len(head)), sectorBytes), room
	if old != nil {
		return old.Close()
	}
	return nil
}

// begin writes the first bytes of a segment and gives it its name.
func (l *Log) begin(f disk.File, head []byte, spare string, s segment) error {
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := l.sync(f); err != nil {
		return err
	}
	if err := l.fs.Rename(spare, filepath.Join(l.dir, s.name())); err != nil {
		return err
	}
	if l.o.NoSync {
		return nil
	}
	return l.fs.SyncDir(l.dir)
}
