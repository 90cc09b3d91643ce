// Package snap keeps snapshots on disk.
//
// A Dir is a directory of files, one a snapshot, named %016x-%016x.snap by term and index. Save makes one in steps, of
// which the last gives it its name: a file of that name was written, synced, read back and found good by its owner before,
// so that the log behind it may be released. Load hands out the bytes while it checks them, and ends with io.EOF only if every byte was what was
// saved. Dir does not know what the bytes mean, and keeps none of them in memory beyond a few blocks.
//
// The bytes are one zstd stream, cut into blocks:
//
//	file    | header | block … | footer |
//	header  | magic 8 | version 4 | crc 4 | term 8 | index 8 |         crc covers the rest of the header
//	block   | length 4 | crc 4 | bytes of the stream … |               length is 1 to 1 MiB
//	footer  | zero 4 | crc 4 | blocks 8 | stream bytes 8 | plain bytes 8 |
//
// Numbers are little-endian, a crc is a CRC-32C seeded with the one before it and covers all of its part but itself, so
// that blocks cannot be dropped, doubled or moved. The file ends with the footer. zstd's own checksum is left out.
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
	importSuffix = ".snap.import" // of what Import has not checked yet
	brokenSuffix = ".broken"
)

// Meta says up to which entry of the raft log a snapshot reaches.
type Meta struct{ Term, Index uint64 }

func (m Meta) name() string { return fmt.Sprintf("%016x-%016x%s", m.Term, m.Index, suffix) }

// older orders by index, and by term where that is equal.
func (m Meta) older(n Meta) bool { return m.Index < n.Index || m.Index == n.Index && m.Term < n.Term }

func parseName(name string) (Meta, bool) {
	var m Meta
	_, err := fmt.Sscanf(name, "%016x-%016x"+suffix, &m.Term, &m.Index)
	return m, err == nil && m.name() == name
}

// Options of a Dir. The zero value is good.
type Options struct {
	NoSync bool // leave syncing to the system: a power cut may lose a snapshot whose log has been released
}

// Dir is an open directory of snapshots. It is used by one goroutine at a time, except for Load, Export and Import, which
// any number may call meanwhile: they share nothing but names with the others, and the files of Import have names of their
// own until they are whole.
type Dir struct {
	fs  disk.FS
	dir string
	o   Options

	imports atomic.Uint64 // names the file of the next import
}

// Open opens dir, which is made if need be, and removes what a crash left of snapshots that were being saved or
// imported.
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

// List returns the snapshots there are, newest first. That one is listed says nothing about its bytes: Load does.
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

// Path returns the name of a snapshot's file, for messages.
func (d *Dir) Path(m Meta) string { return filepath.Join(d.dir, m.name()) }

// Size returns the length of a snapshot's file, in bytes.
func (d *Dir) Size(m Meta) (int64, error) {
	info, err := d.fs.Stat(d.Path(m))
	if err != nil {
		return 0, fmt.Errorf("snap: size: %w", err)
	}
	return info.Size, nil
}

// Save makes a snapshot of what write writes. When it returns nil, the snapshot is on disk and was read back; else
// those there were are as they were, and the room is given back (a full disk is an error that matches disk.ErrNoSpace). An
// error of write is returned wrapped. A snapshot of the same Meta is replaced.
func (d *Dir) Save(m Meta, write func(w io.Writer) error) error {
	return d.SavePaced(m, write, readNothing)
}

// SavePaced is Save for an owner that wants to see what was written, and to take its time over it. What read leaves
// unread is read at once, and its error is returned wrapped. If that matches ErrUnusable, the file is put aside.
func (d *Dir) SavePaced(m Meta, write func(w io.Writer) error, read func(r io.Reader) error) error {
	temp := filepath.Join(d.dir, fmt.Sprintf("%016x-%016x%s", m.Term, m.Index, tempSuffix))
	return d.clear("save", temp, m, d.save(temp, m, write, read))
}

func readNothing(io.Reader) error { return nil }

// clear removes what a failure left, and says what failed.
func (d *Dir) clear(what, temp string, m Meta, err error) error {
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
	return d.seal(f, temp, m, read, encode(d.steady(f), m, write))
}

// seal gives a file its name, if it was written without error and is on disk as a snapshot should be: all of it is read
// back, by read as far as that likes. It closes the file. One that read cannot use is put aside.
func (d *Dir) seal(f disk.File, temp string, m Meta, read func(io.Reader) error, err error) error {
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

// Load hands the bytes of a snapshot to read. If they are not what was saved, read gets an error instead of io.EOF, and
// Load returns a *CorruptError, or ErrNewerFormat, whatever read returns. What read leaves unread is checked, too, so that
// nil means a whole file. A missing file is an error that matches fs.ErrNotExist.
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

// Purge removes all but the newest snapshots; keep is at least 1. It returns what it removed, oldest first, for the
// caller to tell.
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
