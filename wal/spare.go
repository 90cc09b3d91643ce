package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// Reserved reports whether there is a spare segment: room for the log to go on after the current one is full.
func (l *Log) Reserved() bool { return l.spare }

// Left returns how many bytes Sync can write, in batches of whole sectors, before it needs more of the disk.
func (l *Log) Left() int64 {
	left := max(0, l.room-l.offset)
	if l.spare {
		left += l.o.SegmentBytes
	}
	return left
}

// Reserve makes the spare segment if there is none. An error that matches disk.ErrNoSpace means that the disk is full:
// the caller refuses what makes its state grow, and calls Reserve again now and then. Other errors leave the log usable,
// too, but Sync will fail at the end of the segment.
func (l *Log) Reserve() error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.reserve()
}

// Frugal says whether the log leaves what room there is to others. While it does, it makes a spare segment only when Reserve
// is called: at the end of the last segment Sync returns an error that matches disk.ErrNoSpace.
func (l *Log) Frugal(on bool) { l.frugal = on }

// GiveBack removes the spare segment, if there is one, for others to have its room.
func (l *Log) GiveBack() error {
	if err := l.ready(); err != nil || !l.spare {
		return err
	}
	l.spare = false
	if err := l.fs.Remove(filepath.Join(l.dir, spareName)); err != nil {
		return fmt.Errorf("wal: give the spare segment back: %w", err)
	}
	return nil
}

func (l *Log) reserve() error {
	if l.spare {
		return nil
	}
	name := filepath.Join(l.dir, spareName)
	f, err := l.fs.Create(name)
	if err != nil {
		return fmt.Errorf("wal: make spare segment: %w", err)
	}
	err = f.Allocate(l.o.SegmentBytes)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		// What was allocated of it is given back, for others to make room with.
		return errors.Join(fmt.Errorf("wal: allocate spare segment: %w", err), l.fs.Remove(name))
	}
	l.spare = true
	return nil
}

// reserveMore is reserve for a log that needs the segment now. A frugal one goes without.
func (l *Log) reserveMore() error {
	if l.frugal && !l.spare {
		return fmt.Errorf("wal: make spare segment: the room is left to others: %w", disk.ErrNoSpace)
	}
	return l.reserve()
}

// reserveIfRoom leaves it to Reserved to tell that there was no room, and to Reserve to tell of any other error.
func (l *Log) reserveIfRoom() { _ = l.reserveMore() }

// adoptSpare takes over the spare segment of the process before: on a full disk there is no making another. One that was
// written to, by a cut that did not come to its end, is made anew.
func (l *Log) adoptSpare() error {
	f, err := l.fs.Open(filepath.Join(l.dir, spareName))
	if errors.Is(err, fs.ErrNotExist) {
		l.reserveIfRoom()
		return nil
	}
	if err != nil {
		return fmt.Errorf("wal: open spare segment: %w", err)
	}
	clean, err := l.emptySpare(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil && !errors.Is(err, disk.ErrNoSpace) {
		return fmt.Errorf("wal: check spare segment: %w", err)
	}
	if l.spare = clean && err == nil; !l.spare {
		l.reserveIfRoom()
	}
	return nil
}

// emptySpare reports whether the spare segment holds zeros only, and sees to its size.
func (l *Log) emptySpare(f disk.File) (bool, error) {
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	w := window{file: f, size: size}
	for at := int64(0); at < size; at += windowBytes {
		b, err := w.bytes(at, min(windowBytes, size-at))
		if err != nil && err != io.EOF {
			return false, err
		}
		if !isZero(b) {
			return false, nil
		}
	}
	return true, f.Allocate(l.o.SegmentBytes)
}
