// Package wal keeps the raft log on disk.
//
// A Log is a row of segment files of records. A record is found again by Open after any crash once Sync has returned;
// before that it is found whole or not at all, and only if all records before it are. Nothing else is promised, and
// everything below serves this. Log does not know what the records mean, and is used by one goroutine.
//
// What was appended between two calls of Sync is a batch: one write, one sync. A batch begins at a sector of 512 bytes
// of its own, so that no sector that holds acknowledged records is ever written anew. Within it, records follow one
// another as frames, each at a multiple of eight:
//
//	| crc 4 | check 4 | length 4 | index 8 | kind 1 | flags 1 | mark 2 | payload … | end 1 | zeros to a multiple of 8 |
//
//	crc    CRC-32C of all that follows it up to and including end, seeded with the crc of the record before
//	check  CRC-32C of length…mark, seeded with the segment's seed xor an eighth of the frame's offset
//	flags  bit 0: this frame opens a batch
//	mark, end  fixed, and never zero: if they are there, so is what stands before them in the sector
//
// Numbers are little-endian. A header never straddles two sectors: where less than 24 bytes are left of one, the frame
// begins at the next. A segment begins with a header sector (see segment.go); its seed is the crc of the last record of
// the segment before, so that segments make one chain. Behind the last frame a segment is zero.
//
// # Recovery
//
// Replay reads up to the first frame that is not as it was written. If that is in any segment but the last, it refuses:
// a segment is begun only when the one before it is safe. In the last one it must tell a batch that was torn by a crash,
// which nobody was promised, from damage to what was acknowledged. The facts, in this order:
//
//	#  what is found                                           what it means                                     outcome
//	1  a batch opens behind the bad frame                      it began only when what is before it was safe      refuse
//	2  only zeros follow                                       the end                                           go on
//	3  the header is zero or lacks its mark, or the file ends  that sector was never written, or cut              cut
//	4  the header is whole, but its check is wrong             it was written, and changed since                  refuse
//	5  its length is beyond the limit                          another program wrote it, or other options         refuse
//	6  the file ends, end is missing, or a sector is zero      the rest was never written                         cut
//	7  all else                                                all was written, and has changed since             refuse
//
// What cannot be told apart: in the last batch, and only there, a record whose payload has a whole sector (or the part
// of a sector in which it begins or ends) of zeros is cut in row 6 even if it was damaged after its Sync. And whole
// sectors of the last batch, or whole segments at the end, that vanish without a trace look like an end. The caller,
// who knows how far the log was committed, finds those. Bits of the padding are not checked, and do no harm.
//
// What is left is written once more and synced before it is believed: the process before may have read its own failed
// write back from memory, as this one may.
//
// # Room
//
// A segment is allocated before it is used, and a spare one is kept ready: writing never meets a full disk, it is the
// allocation of the next spare that does. Then Reserved is false, and the caller has a segment's room left for what
// frees space. Sync returns an error that matches disk.ErrNoSpace only before it has written anything, and may then be
// called again; any other error of it is for ever.
//
// What is allocated is not yet written to, and the file system notes of each block when it is: a sync of such blocks
// takes two writes. So a batch that comes to them takes zeros for the next 256 KiB along.
package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// Kind says what a record is. The caller chooses the numbers; 0 is not to be used.
type Kind uint8

// Record is what Append takes. Records with an Index are entries of the raft log. A record without one is a state: only
// the newest of its kind counts, and each new segment begins with the newest of each, so that old ones can be released.
type Record struct {
	Kind    Kind   // not 0
	Index   uint64 // of an entry; 0 for a state
	Payload []byte // at most MaxRecordBytes; copied
}

// Options of a Log. The zero value is good.
type Options struct {
	// SegmentBytes is the size at which a segment is cut, and which is allocated for it; default 16 MiB, at least 4 KiB.
	// A batch that is bigger has a segment to its measure.
	SegmentBytes int64
	// MaxRecordBytes is the limit of a payload, in writing and in reading; default 64 MiB, at most 1 GiB.
	MaxRecordBytes int64
	// NoSync leaves syncing to the system: faster, but a power cut loses acknowledged records, or leaves a log that is
	// refused.
	NoSync bool
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
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

	segments []segment // oldest first, numbered without a gap; the last is written to
	file     disk.File // the last segment; nil until it is ready for Append
	offset   int64     // where the next batch begins: a multiple of sectorBytes
	room     int64     // up to where file is allocated
	written  int64     // up to where blocks of file have been written to, with zeros maybe; 0: not known
	begun    bool      // file holds a batch; if not, cutting it would gain nothing
	chain    uint32    // crc of the last record written
	last     uint64    // index of the last entry written

	batch  []byte   // frames appended since the last Sync, their checksums still missing
	states []state  // the newest safe state of each kind, in the order they first came
	spare  bool     // the spare segment exists, and is allocated
	frugal bool     // a spare segment is made by Reserve only
	failed *failure // why the log accepts nothing more
}

// state is a record that is carried on from segment to segment.
type state struct {
	kind    Kind
	payload []byte
}

// Create makes a new log in dir, which is made if need be. After a crash there is either a whole log, empty, or none.
// meta is kept in each segment, for the caller to know its log by; at most 64 KiB. An existing log is ErrExists.
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

// Open opens the log in dir, checks that its segments are a whole row, and returns the meta given to Create. Replay must
// follow. Nothing is changed on disk. Errors: ErrNotFound, disk.ErrLocked, ErrNewerFormat, *CorruptError, and those of
// the disk.
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
	if err := checkRow(l.dir, l.segments); err != nil {
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
			return l.segments[i].corrupt(l.dir, 0, "its meta differs from that of the segments before it: it is of another log")
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

// First returns the lowest index of an entry that the log may hold: a snapshot at First()-1 or later is one from which
// the log goes on. It is 0 for a log from which nothing has been released.
func (l *Log) First() uint64 { return l.segments[0].first }

// Segments returns how many segment files there are, the spare one not counted.
func (l *Log) Segments() int { return len(l.segments) }

// Release removes the oldest segments, as long as all entries in them have an index of at most upTo or have been
// overwritten, and more than keep segments remain; the one in use always does. The caller has made sure that a snapshot
// it can read stands for those entries. An error leaves the log usable, and Release may be called again.
func (l *Log) Release(upTo uint64, keep int) error {
	if err := l.ready(); err != nil {
		return err
	}
	for len(l.segments) > max(keep, 1) && l.segments[1].first <= upTo+1 && upTo+1 != 0 {
		// One name at a time is made safe: a crash that kept the removal of a later segment only would leave a hole.
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

// Close releases the log to others. What was appended since the last Sync is dropped.
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
