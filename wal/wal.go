// Package wal keeps the raft log on disk.
//
// A Log is a sequence of segment files, which hold records. Once Sync has returned, Open and Replay find a record again
// after any crash. Before that, they find it whole or not at all, and only if they find all records before it. The log
// promises nothing else. Log does not know what the records mean. One goroutine uses it.
//
// The records appended between two calls of Sync are a batch: one write, one sync. A batch begins at a new sector of 512
// bytes, so that no sector with acknowledged records is ever written again. In a batch, records follow one another as
// frames, each at a multiple of eight:
//
//	| crc 4 | check 4 | length 4 | index 8 | kind 1 | flags 1 | mark 2 | payload … | end 1 | zeros to a multiple of 8 |
//
//	crc    CRC-32C of check…end, seeded with the crc of the record before
//	check  CRC-32C of length…mark, seeded with (the segment's seed) xor (the frame's offset / 8)
//	flags  bit 0: this frame opens a batch
//	mark, end  fixed, and never zero: if they are there, the bytes before them in the same sector were written, too
//
// Numbers are little-endian. A header lies in one sector: if a sector has less than 24 bytes left, the frame begins at the
// next one. A segment begins with a header sector (see segment.go). Its seed is the crc of the last record of the segment
// before, so that all segments make one chain. All bytes behind the last frame of a segment are zero.
//
// # Recovery
//
// Replay reads up to the first bad frame: one that differs from what was written, or is missing. In any segment but the
// last this is damage, because a segment begins only when the one before it is on disk: Replay refuses it. In the last
// segment Replay must tell a batch that a crash tore, which was never acknowledged, from damage to acknowledged records.
// It goes through these rows in order:
//
//	#  what is found                                           what it means                                     outcome
//	1  a batch opens behind the bad frame                      it began when all records before were on disk      refuse
//	2  only zeros follow                                       the log ends here                                  go on
//	3  the header is zero or lacks its mark, or the file ends  this sector was never written, or was cut off      cut
//	4  the header is whole, but its check is wrong             it was written, and has changed since              refuse
//	5  its length exceeds the limit                            another program or other options wrote it          refuse
//	6  the file ends, end is missing, or a sector is zero      the rest was never written                         cut
//	7  anything else                                           all of it was written, and has changed since       refuse
//
// Three kinds of damage look like a torn batch or like the end of the log. Only the caller can find them, since it knows how
// far the log was committed. In the last batch, row 6 cuts a damaged record if a whole sector of its payload (or the part of a
// sector at its start or end) holds zeros. Whole sectors of the last batch can vanish, and whole segments at the end.
// The padding is not checked; damage to it has no effect.
//
// Replay writes the last batch again and syncs it before the log goes on: the process before may have failed to write it,
// and may have read it back from the memory of the system, as this process may.
//
// # Room
//
// A segment is allocated before it is used, and a spare segment is kept ready. So a full disk stops the allocation of the
// next spare segment, and not a write. Then Reserved is false, and the caller can use the rest of this segment for what
// frees space. If Sync returns an error that matches disk.ErrNoSpace, it has written nothing, and can be called again. Any
// other error of Sync is final.
//
// The first segments are small: each is twice as large as the one before it, up to SegmentBytes.
//
// The file system records for each allocated block whether it was written to, so the first sync of such a block takes two
// writes. Therefore a batch that reaches new blocks also writes zeros to the next 16 to 256 KiB.
package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// Kind says what a record is. The caller chooses the numbers. A Kind is not 0.
type Kind uint8

// Record is what Append takes. A record with an Index is an entry of the raft log. A record without one is a state: only
// the newest of each kind counts. Each new segment begins with these, so that old segments can be released.
type Record struct {
	Kind    Kind   // not 0
	Index   uint64 // of an entry; 0 for a state
	Payload []byte // at most MaxRecordBytes; copied
}

// Options of a Log. The zero value is good.
type Options struct {
	// SegmentBytes is the size that is allocated for a segment. A full segment is followed by the next. Default 16 MiB, at
	// least 4 KiB. A larger batch gets a larger segment.
	SegmentBytes int64
	// FirstSegmentBytes is the size of the first segment, at least 4 KiB; default SegmentBytes. Each segment is twice as
	// large as the one before it, up to SegmentBytes, so that a log of few records takes little of the disk.
	FirstSegmentBytes int64
	// MaxRecordBytes is the limit of a payload, for writing and reading. Default 64 MiB, at most 1 GiB.
	MaxRecordBytes int64
	// NoSync leaves syncing to the system. This is faster, but after a power cut acknowledged records may be lost, or
	// Replay may refuse the log.
	NoSync bool
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.FirstSegmentBytes == 0 {
		o.FirstSegmentBytes = o.SegmentBytes
	}
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = 64 << 20
	}
	return o
}

func (o Options) check() error {
	if o.SegmentBytes < 4<<10 {
		return fmt.Errorf("wal: SegmentBytes is %d, at least 4096 are needed", o.SegmentBytes)
	}
	if o.FirstSegmentBytes < 4<<10 || o.FirstSegmentBytes > o.SegmentBytes {
		return fmt.Errorf("wal: FirstSegmentBytes is %d, allowed are 4096 to SegmentBytes, %d", o.FirstSegmentBytes, o.SegmentBytes)
	}
	if o.MaxRecordBytes < 0 || o.MaxRecordBytes > 1<<30 {
		return fmt.Errorf("wal: MaxRecordBytes is %d, allowed are 1 to %d", o.MaxRecordBytes, 1<<30)
	}
	return nil
}

// Log is an open log. It is made by Create, or by Open and Replay.
type Log struct {
	fs   disk.FS
	dir  string
	o    Options
	meta []byte
	lock io.Closer

	segments []segment // segments[i+1].sequence == segments[i].sequence+1; the last one is written to
	file     disk.File // the last segment; nil until it is ready for Append
	offset   int64     // of the next batch; offset%sectorBytes == 0
	room     int64     // file is allocated up to here
	written  int64     // blocks of file were written to up to here, maybe with zeros; 0: not known
	ahead    int64     // zeros that the last batch wrote ahead; 0 <= ahead <= aheadBytes
	begun    bool      // file holds a batch; an empty segment is not replaced by a new one
	chain    uint32    // crc of the last record that was written
	last     uint64    // index of the last entry that was written

	batch  []byte   // frames appended since the last Sync, without checksums
	states []state  // the newest synced state of each kind, in the order in which the kinds first came
	spare  int64    // bytes that are allocated for the spare segment; 0: there is none
	frugal bool     // only Reserve makes a spare segment
	failed *failure // the log accepts nothing more; nil: it does
}

// state is a record that each new segment repeats.
type state struct {
	kind    Kind
	payload []byte
}

// Create makes a new log in dir. It makes dir if there is none. After a crash there is either a whole, empty log or none.
// Each segment holds meta, by which the caller knows its log; at most 64 KiB. If there is a log, the error is ErrExists.
func Create(fsys disk.FS, dir string, meta []byte, o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(meta) > maxMetaBytes {
		return nil, fmt.Errorf("wal: meta has %d bytes, at most %d are allowed", len(meta), maxMetaBytes)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("wal: make directory: %w", err)
	}
	l := &Log{fs: fsys, dir: dir, o: o, meta: append([]byte{}, meta...)}
	if err := l.acquire(); err != nil {
		return nil, err
	}
	if err := l.create(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Log) create() error {
	segments, err := listSegments(l.fs, l.dir)
	if err != nil {
		return err
	}
	if len(segments) > 0 {
		return fmt.Errorf("wal: create in %s: %w", l.dir, ErrExists)
	}
	if err := l.reserve(); err != nil {
		return err
	}
	if err := l.cut(0, 0); err != nil {
		return fmt.Errorf("wal: make first segment in %s: %w", l.dir, err)
	}
	l.reserveIfRoom()
	return nil
}

// Exists reports whether dir holds a log, whole or not.
func Exists(fsys disk.FS, dir string) (bool, error) {
	segments, err := listSegments(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var corrupt *CorruptError
	return len(segments) > 0 || errors.As(err, &corrupt), ignoreCorrupt(err)
}

func ignoreCorrupt(err error) error {
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) {
		return nil
	}
	return err
}

// Open opens the log in dir, checks that no segment is missing, and returns the meta that Create got. Replay must follow.
// Open changes nothing on disk. Errors: ErrNotFound, disk.ErrLocked, ErrNewerFormat, *CorruptError, and those of the disk.
func Open(fsys disk.FS, dir string, o Options) (*Log, []byte, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if found, err := Exists(fsys, dir); err != nil {
		return nil, nil, fmt.Errorf("wal: open %s: %w", dir, err)
	} else if !found {
		return nil, nil, fmt.Errorf("wal: open %s: %w", dir, ErrNotFound)
	}
	l := &Log{fs: fsys, dir: dir, o: o}
	if err := l.acquire(); err != nil {
		return nil, nil, err
	}
	if err := l.open(); err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, l.meta, nil
}

func (l *Log) open() (err error) {
	if l.segments, err = listSegments(l.fs, l.dir); err != nil {
		return err
	}
	if err := checkSequence(l.dir, l.segments); err != nil {
		return err
	}
	for i := range l.segments {
		meta, err := l.segments[i].readHeader(l.fs, l.dir)
		if err != nil {
			return err
		}
		if i == 0 {
			l.meta = meta
		}
		if string(meta) != string(l.meta) {
			return l.segments[i].corrupt(l.dir, 0, "its meta differs from that of the segments before it: it belongs to another log")
		}
	}
	return nil
}

// acquire keeps a second process out of dir.
func (l *Log) acquire() (err error) {
	l.lock, err = l.fs.Lock(filepath.Join(l.dir, lockName))
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

// First returns the lowest index of an entry that the log may hold: the log goes on from a snapshot at First()-1 or later.
// It is 0 for a log from which nothing was released.
func (l *Log) First() uint64 { return l.segments[0].first }

// Segments returns the number of segment files without the spare one.
func (l *Log) Segments() int { return len(l.segments) }

// SegmentBytes returns the size of the last segment, which is written to.
func (l *Log) SegmentBytes() int64 { return l.room }

// Release removes the oldest segments while all of their entries have an index <= upTo or are overwritten, and more than
// keep segments remain. The segment in use always remains. The caller must have a readable snapshot of these entries. After
// an error the log is still usable, and Release can be called again.
func (l *Log) Release(upTo uint64, keep int) error {
	if err := l.ready(); err != nil {
		return err
	}
	for len(l.segments) > max(keep, 1) && l.segments[1].first <= upTo+1 && upTo+1 != 0 {
		// Each removal is synced alone: if a crash kept only the removal of a later segment, the log would have a gap.
		name := filepath.Join(l.dir, l.segments[0].name())
		if err := l.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("wal: release segment: %w", err)
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("wal: release segment: %w", err)
		}
		l.segments = append(l.segments[:0], l.segments[1:]...)
	}
	return nil
}

// Close lets other processes open the log. It drops what was appended since the last Sync.
func (l *Log) Close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	if l.failed == nil {
		l.failed = &failure{cause: fs.ErrClosed}
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	l.file, l.lock = nil, nil
	return err
}
