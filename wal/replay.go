package wal

import (
	"errors"
	"fmt"
	"path/filepath"

	"canopy/internal/disk"
)

// Replay calls fn with the records, in the order of Append, and makes the log ready for Append. It skips the segments in
// which, by their names, all entries have indexes below from. So fn may get some entries below from, and gets at least the
// newest state of each kind. The payload is valid during the call only. An error of fn ends Replay and is returned unchanged.
//
// Replay cuts off the end of a torn batch, as the table of the package comment says, and syncs the rest: the next crash
// loses no record that fn got. On a *CorruptError nothing on disk was changed. After any error the log can only be closed.
func (l *Log) Replay(from uint64, fn func(kind Kind, index uint64, payload []byte) error) error {
	if l.failed != nil {
		return l.failed
	}
	if l.file != nil {
		return ErrReplayed
	}
	begin := 0
	for i, s := range l.segments {
		if s.first <= from {
			begin = i
		}
	}
	l.chain = l.segments[begin].seed
	l.last = max(l.segments[begin].first, 1) - 1
	for i := begin; i < len(l.segments)-1; i++ {
		if err := l.replayWhole(i, fn); err != nil {
			return err
		}
	}
	if err := l.replayLast(fn); err != nil {
		return err
	}
	return l.adoptSpare()
}

// replayWhole reads a segment that another one follows: it was whole when that one began.
func (l *Log) replayWhole(i int, fn func(Kind, uint64, []byte) error) error {
	s, next := l.segments[i], l.segments[i+1]
	f, size, err := l.openSegment(s)
	if err != nil {
		return err
	}
	defer f.Close()
	r := l.reader(s, f, size)
	if err := r.run(fn); err != nil {
		return err
	}
	if l.chain == next.seed {
		return nil
	}
	reason, err := r.reason()
	if err != nil {
		return err
	}
	return s.corrupt(l.dir, r.bad, fmt.Sprintf("%s, and %s follows", reason, next.name()))
}

// replayLast reads the last segment, finds its end, and makes it ready for Append.
func (l *Log) replayLast(fn func(Kind, uint64, []byte) error) (err error) {
	s := l.current()
	f, size, err := l.openSegment(s)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	r := l.reader(s, f, size)
	if err := r.run(fn); err != nil {
		return err
	}
	torn, err := r.judge()
	if err != nil {
		return err
	}
	if err := l.secureEnd(r, torn); err != nil {
		return fmt.Errorf("wal: make the end of %s safe: %w", filepath.Join(l.dir, s.name()), err)
	}
	l.file = f
	return nil
}

// secureEnd syncs what the process before may have left in the memory of the system: the bytes, the size and the name. It
// cuts off a torn end by truncation, which is one step: zeros could be written in part, and the rest would look like damage.
func (l *Log) secureEnd(r *reader, torn bool) error {
	if err := r.rewrite(); err != nil {
		return err
	}
	f := r.window.file
	l.offset, l.room, l.begun = roundUp(r.at, sectorBytes), r.window.size, r.at > r.segment.start
	usual := min(max(l.room, l.o.FirstSegmentBytes), l.o.SegmentBytes)
	if torn {
		if err := f.Truncate(r.at); err != nil {
			return err
		}
		l.room = r.at
	}
	if l.room < usual {
		err := f.Allocate(usual)
		if err == nil {
			l.room = usual
		} else if !errors.Is(err, disk.ErrNoSpace) {
			return err
		}
	}
	if err := l.sync(f); err != nil || l.o.NoSync {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

func (l *Log) openSegment(s segment) (disk.File, int64, error) {
	name := filepath.Join(l.dir, s.name())
	f, err := l.fs.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("wal: open segment: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("wal: size of %s: %w", name, err), f.Close())
	}
	return f, size, nil
}
