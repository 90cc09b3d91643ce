// Package disk is the one door between this program and the file system.
//
// An FS names, renames, lists and locks; a File reads and writes at offsets, reserves room, and says when its bytes
// are safe. OS is the real one. Mem is one in memory that tests make fail, fill up, tear and crash: whatever passes
// its tests on Mem relies on nothing but the promises written here:
//
//   - bytes written are safe once File.Sync has returned, not before, and may reach the disk in any order; with
//     File.WriteSync they are safe when it returns;
//   - a name made, renamed or removed is safe once FS.SyncDir of its directory has returned;
//   - Rename swaps a name in one step: after a crash it is either the old file or the new one;
//   - a failed Sync says nothing about what is on the disk, and neither does a second one after it.
//
// Everything made is for its owner only: directories 0700, files 0600.
package disk

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
)

// FS is what the log, the snapshots and the member ask of a file system. Paths use the system's separator. A missing
// file is reported by an error that matches fs.ErrNotExist, a full disk by one that matches ErrNoSpace.
type FS interface {
	// Create makes an empty file for reading and writing, or empties the one that is there.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Rename gives a file a new name, in place of any file of that name. Both names are on one file system.
	Rename(from, to string) error
	// Remove deletes a file, or a directory that is empty.
	Remove(name string) error
	// List returns the names within a directory, sorted.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (Info, error)
	// MkdirAll makes a directory and its missing parents, and makes their names safe, too.
	MkdirAll(dir string) error
	// SyncDir makes the names within a directory safe.
	SyncDir(dir string) error
	// Secure sees to it that nobody but the owner can enter a directory. It reports whether it had to change its
	// mode, for the caller to tell the operator; an error means that the directory is open and stays so.
	Secure(dir string) (tightened bool, err error)
	// Lock takes the named lock file, which it makes if need be, until the result is closed or the process ends. If
	// another holds it, the error is a *LockedError.
	Lock(name string) (io.Closer, error)
	// Room tells how much room there is for files in a directory. Where the system does not say, it is Endless.
	Room(dir string) (Room, error)
}

// File is an open file. ReadAt may be called concurrently; all else is for one goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the bytes written so far, and the size needed to read them back, safe. After it has failed, nothing
	// is known about any of them, and it must not be believed if called again.
	Sync() error
	// WriteSync writes p, and makes it safe, as WriteAt and Sync would; what WriteAt wrote before it may not be. It is
	// the fastest if offset and length are multiples of 512. After it has failed, it is as after a failed Sync.
	WriteSync(p []byte, off int64) error
	// Allocate reserves room for the first size bytes. The file grows to at least size, new bytes are zero, and
	// writing there does not fail for want of space. It never shrinks a file.
	Allocate(size int64) error
	// Truncate sets the size; bytes added are zero, with no room reserved for them.
	Truncate(size int64) error
	// Size returns the current size in bytes.
	Size() (int64, error)
}

// Room is the room on the disk of a directory, in bytes.
type Room struct {
	Free  int64 // for this process to use
	Total int64
}

// Endless is the room on a disk that has no known limit.
var Endless = Room{Free: math.MaxInt64, Total: math.MaxInt64}

// Info describes a file or directory.
type Info struct {
	Size int64 // bytes; 0 for a directory
	Dir  bool
}

// ErrNoSpace is matched by every error that means: there is no room, or the quota is used up.
var ErrNoSpace = errors.New("no space left on the disk")

// ErrLocked is matched by every *LockedError.
var ErrLocked = errors.New("locked by another process")

// LockedError says who holds a lock.
type LockedError struct {
	Path string // of the lock file
	PID  int    // of the holder; 0 if it cannot be told
}

// Error names the directory in use and, if known, the process that uses it.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process (lock %s)", filepath.Dir(e.Path), filepath.Base(e.Path))
	}
	return fmt.Sprintf("%s is in use by process %d (lock %s)", filepath.Dir(e.Path), e.PID, filepath.Base(e.Path))
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// WriteFile replaces a small file as a whole: after a crash its name holds either the old bytes or the new ones. While
// it runs, a file of that name with the suffix ".tmp" exists; one left by a crash is written over.
func WriteFile(fsys FS, name string, data []byte) (err error) {
	tmp := name + ".tmp"
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReadFile returns the bytes of a file of at most limit bytes; a bigger one is refused unread.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are expected", name, size, limit)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err == io.EOF {
		err = nil
	}
	return data[:n], err
}
