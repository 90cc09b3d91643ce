package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"canopy/internal/disk"
)

// batchBytesKept is the size up to which the buffer of a batch is used again, in bytes.
const batchBytesKept = 4 << 20

// aheadBytes is how much is filled with zeros at a time, see padded.
const aheadBytes = 256 << 10

var zeros [aheadBytes]byte

// Append adds records to the batch that the next Sync makes safe. It copies them and does no I/O. On an error nothing of
// this call has been added.
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

// Sync makes all records appended so far safe, with one write and one sync. An error that matches disk.ErrNoSpace means
// that nothing was written: the batch is kept, and Sync may be called again when there is room. After any other error
// nothing is known about the batch, and all further calls return it, too.
func (l *Log) Sync() error {
	if err := l.ready(); err != nil {
		return err
	}
	if len(l.batch) == 0 {
		return nil
	}
	if err := l.makeRoom(int64(len(l.batch))); err != nil {
		return err
	}
	chain := seal(l.batch, l.offset, l.current().seed, l.chain)
	if err := l.write(l.padded()); err != nil {
		return l.fail("write", err)
	}
	l.chain = chain
	l.begun = true
	l.offset = roundUp(l.offset+int64(len(l.batch)), sectorBytes)
	l.settle()
	return nil
}

// padded returns the batch up to the end of its last sector. Whenever it comes to where nothing was written yet, zeros
// for what lies behind it are added, which that reads as anyway: a write to blocks that were only allocated has to note
// in the file system that they are in use now, which is another write to the disk, and a third of the time. Big batches
// are not made bigger, as little of theirs is that.
func (l *Log) padded() []byte {
	end := l.offset + int64(len(l.batch))
	to := min(roundUp(end, sectorBytes), l.room)
	if end > l.written && !l.o.NoSync && len(l.batch) <= aheadBytes/4 {
		to = min(to+aheadBytes-sectorBytes, l.room)
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

// ready returns why the log takes no records, or nil.
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

// failUnlessFull makes an error final that came before anything was written, unless it will pass by itself.
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

// settle notes what a batch that is safe now has changed, and empties it.
func (l *Log) settle() {
	frames(l.batch, func(_ int64, frame []byte) {
		l.note(decodeHeader(frame), frame[frameHeaderBytes:len(frame)-frameEndBytes])
	})
	if l.batch = l.batch[:0]; cap(l.batch) > batchBytesKept {
		l.batch = nil
	}
}

// note keeps the newest state of each kind, and the last index.
func (l *Log) note(h header, payload []byte) {
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

// makeRoom sees to it that a batch of so many bytes can be written without meeting a full disk: in the segment in use,
// or in the next. A batch that is bigger than segments are gets one to its measure.
func (l *Log) makeRoom(bytes int64) error {
	if l.offset+bytes <= l.room {
		return nil
	}
	if l.begun {
		if err := l.reserveMore(); err != nil {
			return l.failUnlessFull("make segment behind", err)
		}
		if err := l.cut(l.current().sequence+1, l.nextFirst()); err != nil {
			return l.fail("cut behind", err)
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

// nextFirst returns the lowest index that can be in a segment that begins with the current batch.
func (l *Log) nextFirst() uint64 {
	first := l.last + 1
	frames(l.batch, func(_ int64, frame []byte) {
		if index := binary.LittleEndian.Uint64(frame[atIndex:]); index != 0 {
			first = min(first, index)
		}
	})
	return first
}

// cut goes on in a new segment, made of the spare one. Its header and the states carried over are safe before it gets
// its name, and the name before anything else is written to it: wherever this is interrupted, the row of segments is whole.
func (l *Log) cut(sequence, first uint64) error {
	s := segment{sequence: sequence, first: first, seed: l.chain, start: segmentStart(l.meta)}
	head := appendSegmentHeader(nil, s, l.meta)
	var carried []byte
	for _, st := range l.states {
		carried = appendFrame(carried, Record{Kind: st.kind, Payload: st.payload})
	}
	chain := seal(carried, s.start, s.seed, l.chain)
	head = append(head, carried...)

	spare := filepath.Join(l.dir, spareName)
	f, err := l.fs.Open(spare)
	if err != nil {
		return err
	}
	if err := l.begin(f, head, spare, s); err != nil {
		return errors.Join(err, f.Close())
	}
	old := l.file
	l.spare = false
	l.segments = append(l.segments, s)
	l.file, l.chain, l.begun, l.written = f, chain, false, 0
	l.offset, l.room = roundUp(int64(len(head)), sectorBytes), max(l.o.SegmentBytes, int64(len(head)))
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
