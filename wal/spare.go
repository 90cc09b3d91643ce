package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// Reserved reports whether there is a spare segment, in which the log goes on when this one is full.
func (l *Log) Reserved() bool { return l.spare > 0 }

// Left returns how many bytes Sync can write, in batches of whole sectors, before it needs more disk space.
func (l *Log) Left() int64 {
	return max(0, l.room-l.offset) + l.spare
}

// Reserve makes the spare segment if there is none. If the error matches disk.ErrNoSpace, the disk is full: the caller must
// refuse what makes its state grow, and call Reserve again from time to time. After other errors the log is usable, too, but
// Sync will fail at the end of the segment.
func (l *Log) Reserve() error {
	if err := l.ready(); err != nil {
		return err
	}
	return l.reserve()
}

// Frugal tells the log whether to leave the free disk space to others. If it does, only Reserve makes a spare segment;
// without one, Sync returns an error that matches disk.ErrNoSpace at the end of the last segment.
func (l *Log) Frugal(on bool) { l.frugal = on }

// GiveBack removes the spare segment, if there is one, so that others can use its room.
func (l *Log) GiveBack() error {
	if err := l.ready(); err != nil || !l.Reserved() {
		return err
	}
	l.spare = 0
	if err := l.fs.Remove(filepath.Join(l.dir, spareName)); err != nil {
		return fmt.Errorf("wal: give the spare segment back: %w", err)
	}
	return nil
}

func (l *Log) reserve() error {
	if l.Reserved() {
		return nil
	}
	bytes := l.nextBytes()
	name := filepath.Join(l.dir, spareName)
	f, err := l.fs.Create(name)
	if err != nil {
		return fmt.Errorf("wal: make spare segment: %w", err)
	}
	err = f.Allocate(bytes)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		// Others may need the part that was allocated.
		return errors.Join(fmt.Errorf("wal: allocate spare segment: %w", err), l.fs.Remove(name))
	}
	l.spare = bytes
	return nil
}

// nextBytes is the size of the segment after the last one.
func (l *Log) nextBytes() int64 {
	return min(max(2*l.room, l.o.FirstSegmentBytes), l.o.SegmentBytes)
}

// reserveMore makes the spare segment, unless the log is frugal.
func (l *Log) reserveMore() error {
	if l.frugal && !l.Reserved() {
		return fmt.Errorf("wal: make spare segment: the room is left to others: %w", disk.ErrNoSpace)
	}
	return l.reserve()
}

// reserveIfRoom tries to make the spare segment. Reserved tells whether there is one, and Reserve returns the error.
func (l *Log) reserveIfRoom() { _ = l.reserveMore() }

// adoptSpare uses the spare segment of the process before, since on a full disk there is no room for another one. If a cut
// was interrupted after it had written to the segment, adoptSpare makes a new one.
func (l *Log) adoptSpare() error {
	f, err := l.fs.Open(filepath.Join(l.dir, spareName))
	if errors.Is(err, fs.ErrNotExist) {
		l.reserveIfRoom()
		return nil
	}
	if err != nil {
		return fmt.Errorf("wal: open spare segment: %w", err)
	}
	bytes, err := l.emptySpare(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil && !errors.Is(err, disk.ErrNoSpace) {
		return fmt.Errorf("wal: check spare segment: %w", err)
	}
	if err == nil {
		l.spare = bytes
	}
	if !l.Reserved() {
		l.reserveIfRoom()
	}
	return nil
}

// emptySpare gives the spare segment its full size, and returns that; 0 if it holds anything but zeros.
func (l *Log) emptySpare(f disk.File) (bytes int64, err error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	w := window{file: f, size: size}
	for at := int64(0); at < size; at += windowBytes {
		b, err := w.bytes(at, min(windowBytes, size-at))
		if err != nil && err != io.EOF {
			return 0, err
		}
		if !isZero(b) {
			return 0, nil
		}
	}
	bytes = max(size, l.o.FirstSegmentBytes)
	return bytes, f.Allocate(bytes)
}
