// Package snap keeps snapshots on disk.
//
// A Dir is a directory with one file for each snapshot, named %016x-%016x.snap by term and index. Save writes the file, syncs
// it, reads it back, lets its owner check it, and only then gives it this name. So the log that a named snapshot covers can
// be released. Load returns the bytes while it checks them, and ends with io.EOF only if every byte is as it was saved. Dir
// does not know what the bytes mean, and has no more than a few blocks in memory.
//
// The bytes are one zstd stream, cut into blocks:
//
//	file    | header | block … | footer |
//	header  | magic 8 | version 4 | crc 4 | term 8 | index 8 |         crc covers the rest of the header
//	block   | length 4 | crc 4 | bytes of the stream … |               length is 1 to 1 MiB
//	footer  | zero 4 | crc 4 | blocks 8 | stream bytes 8 | plain bytes 8 |
//
// Numbers are little-endian. A crc is a CRC-32C, seeded with the crc before it. It covers its header, block or footer except
// itself, so that a block that is missing, doubled or moved is noticed. The file ends with the footer. The stream has no
// checksum of zstd.
package snap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"canopy/internal/disk"
)

const (
	suffix       = ".snap"
	tempSuffix   = ".snap.tmp"
	importSuffix = ".snap.import" // Import has not checked the file yet
	brokenSuffix = ".broken"
)

// Meta names the last entry of the raft log that a snapshot covers.
type Meta struct{ Term, Index uint64 }

func (m Meta) name() string { return fmt.Sprintf("%016x-%016x%s", m.Term, m.Index, suffix) }

// older compares indexes, and terms if the indexes are equal.
func (m Meta) older(n Meta) bool { return m.Index < n.Index || m.Index == n.Index && m.Term < n.Term }

func parseName(name string) (Meta, bool) {
	var m Meta
	_, err := fmt.Sscanf(name, "%016x-%016x"+suffix, &m.Term, &m.Index)
	return m, err == nil && m.name() == name
}

// Options of a Dir. The zero value is good.
type Options struct {
	NoSync bool // leave syncing to the system: a power cut may lose a snapshot whose log was released
}

// Dir is an open directory of snapshots. One goroutine at a time uses it, except that any number may call Load, Export and
// Import at any time: these share only file names with the others, and Import uses other names until a file is whole.
type Dir struct {
	fs  disk.FS
	dir string
	o   Options

	imports atomic.Uint64 // names the file of the next import
}

// Open opens dir, and makes it if there is none. It removes the files of snapshots that a crash interrupted.
func Open(fsys disk.FS, dir string, o Options) (*Dir, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("snap: make directory: %w", err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("snap: open %s: %w", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) || strings.HasSuffix(name, importSuffix) {
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("snap: remove what is left of a snapshot: %w", err)
			}
		}
	}
	return &Dir{fs: fsys, dir: dir, o: o}, nil
}

// List returns all snapshots, newest first. It does not check their bytes; Load does.
func (d *Dir) List() ([]Meta, error) {
	names, err := d.fs.List(d.dir)
	if err != nil {
		return nil, fmt.Errorf("snap: list %s: %w", d.dir, err)
	}
	var metas []Meta
	for _, name := range names {
		if m, ok := parseName(name); ok {
			metas = append(metas, m)
		}
	}
	slices.SortFunc(metas, func(a, b Meta) int {
		switch {
		case b.older(a):
			return -1
		case a.older(b):
			return 1
		}
		return 0
	})
	return metas, nil
}

// Path returns the path of a snapshot's file, for messages.
func (d *Dir) Path(m Meta) string { return filepath.Join(d.dir, m.name()) }

// Size returns the size of a snapshot's file in bytes.
func (d *Dir) Size(m Meta) (int64, error) {
	info, err := d.fs.Stat(d.Path(m))
	if err != nil {
		return 0, fmt.Errorf("snap: size: %w", err)
	}
	return info.Size, nil
}

// Save makes a snapshot of the bytes that write writes. If it returns nil, the snapshot is on disk and was read back.
// Otherwise the other snapshots are unchanged, and the new file is removed; if the disk is full, the error matches
// disk.ErrNoSpace. The error wraps that of write. Save replaces a snapshot with the same Meta.
func (d *Dir) Save(m Meta, write func(w io.Writer) error) error {
	return d.SavePaced(m, write, readNothing)
}

// SavePaced does what Save does, and calls read to check the bytes that were written. Both functions may be slow, so that the
// disk and the processor have time for others. SavePaced itself reads the bytes that read leaves. The error wraps that of
// read. If it matches ErrUnusable, the file is kept under another name, as Quarantine does.
func (d *Dir) SavePaced(m Meta, write func(w io.Writer) error, read func(r io.Reader) error) error {
	temp := filepath.Join(d.dir, fmt.Sprintf("%016x-%016x%s", m.Term, m.Index, tempSuffix))
	return d.discard("save", temp, m, d.save(temp, m, write, read))
}

func readNothing(io.Reader) error { return nil }

// discard removes the file that a failure left, and adds to the error what failed.
func (d *Dir) discard(what, temp string, m Meta, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("snap: %s %s: %w", what, d.Path(m), err)
	if e := d.fs.Remove(temp); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

func (d *Dir) save(temp string, m Meta, write func(io.Writer) error, read func(io.Reader) error) error {
	f, err := d.fs.Create(temp)
	if err != nil {
		return err
	}
	return d.finish(f, temp, m, read, encode(d.steady(f), m, write))
}

// finish syncs a file, reads all of it back, gives it its name, and closes it. read gets the bytes first. If read finds
// them unusable, finish puts the file aside. err is the error of writing the file.
func (d *Dir) finish(f disk.File, temp string, m Meta, read func(io.Reader) error, err error) error {
	if err == nil && !d.o.NoSync {
		err = f.Sync()
	}
	if err == nil {
		err = decode(f, temp, m, read)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if errors.Is(err, ErrUnusable) {
		return errors.Join(err, d.putAside(temp, m))
	}
	if err != nil {
		return err
	}
	if err := d.fs.Rename(temp, d.Path(m)); err != nil {
		return err
	}
	if d.o.NoSync {
		return nil
	}
	return d.fs.SyncDir(d.dir)
}

// Load lets read read the bytes of a snapshot. If they differ from what was saved, read gets an error instead of io.EOF, and
// Load returns a *CorruptError or ErrNewerFormat, whatever read returns. Load also checks the bytes that read leaves, so nil
// means that the whole file is good. If there is no file, the error matches fs.ErrNotExist.
func (d *Dir) Load(m Meta, read func(r io.Reader) error) error {
	name := d.Path(m)
	f, err := d.fs.Open(name)
	if err != nil {
		return fmt.Errorf("snap: load: %w", err)
	}
	err = decode(f, name, m, read)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Purge removes all snapshots but the newest keep ones. It keeps at least one. It returns what it removed, oldest first.
func (d *Dir) Purge(keep int) ([]Meta, error) {
	metas, err := d.List()
	if err != nil {
		return nil, err
	}
	var removed []Meta
	for i := len(metas) - 1; i >= max(keep, 1); i-- {
		if err := d.fs.Remove(d.Path(metas[i])); err != nil {
			return removed, fmt.Errorf("snap: purge: %w", err)
		}
		removed = append(removed, metas[i])
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, d.fs.SyncDir(d.dir)
}
