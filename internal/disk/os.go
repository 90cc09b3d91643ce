package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{}

// Create implements FS.
func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, typed(err)
	}
	return &osFile{f: f}, nil
}

// Open implements FS.
func (OS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, typed(err)
	}
	return &osFile{f: f}, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return typed(os.Rename(from, to)) }

// Remove implements FS.
func (OS) Remove(name string) error { return typed(os.Remove(name)) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, typed(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Stat implements FS.
func (OS) Stat(name string) (Info, error) {
	i, err := os.Stat(name)
	if err != nil {
		return Info{}, typed(err)
	}
	if i.IsDir() {
		return Info{Dir: true}, nil
	}
	return Info{Size: i.Size()}, nil
}

// MkdirAll implements FS.
func (o OS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	i, err := os.Stat(dir)
	switch {
	case err == nil && i.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return typed(err)
	}
	parent := filepath.Dir(dir)
	if err := o.MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return typed(err)
	}
	return o.SyncDir(parent)
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error { return syncDir(dir) }

// Secure implements FS. Only the permission bits of group and others are taken away.
func (OS) Secure(dir string) (tightened bool, err error) {
	i, err := os.Stat(dir)
	if err != nil {
		return false, typed(err)
	}
	mode := i.Mode().Perm()
	if mode&0o077 == 0 || !modesMatter {
		return false, nil
	}
	if err := os.Chmod(dir, mode&dirMode); err != nil {
		return false, fmt.Errorf("%s is open to other users (mode %04o) and cannot be closed to them; try chmod 700: %w",
			dir, mode, err)
	}
	return true, nil
}

// Lock implements FS. The file holds the PID of the process that took the lock last.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, typed(err)
	}
	held, err := tryLock(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	if !held {
		pid := readPID(f)
		return nil, errors.Join(&LockedError{Path: name, PID: pid}, f.Close())
	}
	// The PID is a courtesy to whoever finds the lock taken: on a full disk the lock holds without it.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return f, nil
}

// Room implements FS.
func (OS) Room(dir string) (Room, error) {
	room, err := roomOn(dir)
	return room, typed(err)
}

// readPID returns what the holder of a lock wrote, or 0.
func readPID(f *os.File) int {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// osFile is an *os.File with errors typed, and syncing and reserving done the system's best way.
type osFile struct {
	f      *os.File
	direct directWriter
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.f.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, typed(err)
}

func (o *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := o.f.WriteAt(p, off)
	return n, typed(err)
}

func (o *osFile) Sync() error { return typedFull(syncData(o.f)) }

func (o *osFile) WriteSync(p []byte, off int64) error {
	if done, err := o.direct.write(o.f, p, off); done || err != nil {
		return err
	}
	if _, err := o.WriteAt(p, off); err != nil {
		return err
	}
	return o.Sync()
}

func (o *osFile) Truncate(size int64) error { return typed(o.f.Truncate(size)) }

func (o *osFile) Close() error { return typed(errors.Join(o.direct.close(), o.f.Close())) }

func (o *osFile) Size() (int64, error) {
	i, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (o *osFile) Allocate(size int64) error {
	err := allocate(o.f, size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = fillZero(o.f, size)
	}
	return typed(err)
}

// fillZero reserves room where the system has no call for it, by writing zeros behind what is there.
func fillZero(f *os.File, size int64) error {
	i, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := i.Size(); at < size; {
		n := min(size-at, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:n], at); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// typed makes a full disk recognisable, and what the system lacks for a moment.
func typed(err error) error {
	if err != nil && isScarce(err) {
		return fmt.Errorf("%w: %w", ErrScarce, err)
	}
	return typedFull(err)
}

// typedFull makes a full disk recognisable. It is for syncs, whose failure is final whatever the reason is.
func typedFull(err error) error {
	if err != nil && isNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
