package disk

import (
	"errors"
	"io"
)

// ErrScarce is matched by every error that means: the system lacks descriptors or memory just now. It says nothing about
// the disk, and no failed sync matches it: the same call may be made again.
var ErrScarce = errors.New("the system lacks file descriptors or memory")

// Patient is an FS that tries again what failed with ErrScarce.
type Patient struct {
	FS

	// Wait waits a moment, and tells whether to try again; else the error is returned. It is called by many goroutines.
	Wait func(scarce error) bool
}

var _ FS = Patient{}

// again calls try until there is no want.
func (p Patient) again(try func() error) error {
	for {
		err := try()
		if !errors.Is(err, ErrScarce) || !p.Wait(err) {
			return err
		}
	}
}

// patiently is again for what gives a value.
func patiently[T any](p Patient, try func() (T, error)) (value T, err error) {
	err = p.again(func() (err error) {
		value, err = try()
		return err
	})
	return value, err
}

func (p Patient) file(try func() (File, error)) (File, error) {
	f, err := patiently(p, try)
	if err != nil {
		return nil, err
	}
	return patientFile{f, p}, nil
}

// Create implements FS.
func (p Patient) Create(name string) (File, error) {
	return p.file(func() (File, error) { return p.FS.Create(name) })
}

// Open implements FS.
func (p Patient) Open(name string) (File, error) {
	return p.file(func() (File, error) { return p.FS.Open(name) })
}

// Rename implements FS.
func (p Patient) Rename(from, to string) error {
	return p.again(func() error { return p.FS.Rename(from, to) })
}

// Remove implements FS.
func (p Patient) Remove(name string) error {
	return p.again(func() error { return p.FS.Remove(name) })
}

// List implements FS.
func (p Patient) List(dir string) ([]string, error) {
	return patiently(p, func() ([]string, error) { return p.FS.List(dir) })
}

// Stat implements FS.
func (p Patient) Stat(name string) (Info, error) {
	return patiently(p, func() (Info, error) { return p.FS.Stat(name) })
}

// MkdirAll implements FS.
func (p Patient) MkdirAll(dir string) error {
	return p.again(func() error { return p.FS.MkdirAll(dir) })
}

// SyncDir implements FS. What it lacks is a descriptor of the directory, or the memory to look for it.
func (p Patient) SyncDir(dir string) error {
	return p.again(func() error { return p.FS.SyncDir(dir) })
}

// Secure implements FS.
func (p Patient) Secure(dir string) (bool, error) {
	return patiently(p, func() (bool, error) { return p.FS.Secure(dir) })
}

// Lock implements FS.
func (p Patient) Lock(name string) (io.Closer, error) {
	return patiently(p, func() (io.Closer, error) { return p.FS.Lock(name) })
}

// patientFile is a file of a Patient.
type patientFile struct {
	File
	p Patient
}

// ReadAt implements File.
func (f patientFile) ReadAt(b []byte, off int64) (int, error) {
	return patiently(f.p, func() (int, error) { return f.File.ReadAt(b, off) })
}

// WriteAt implements File.
func (f patientFile) WriteAt(b []byte, off int64) (int, error) {
	return patiently(f.p, func() (int, error) { return f.File.WriteAt(b, off) })
}

// WriteSync implements File.
func (f patientFile) WriteSync(b []byte, off int64) error {
	return f.p.again(func() error { return f.File.WriteSync(b, off) })
}

// Allocate implements File.
func (f patientFile) Allocate(size int64) error {
	return f.p.again(func() error { return f.File.Allocate(size) })
}

// Truncate implements File.
func (f patientFile) Truncate(size int64) error {
	return f.p.again(func() error { return f.File.Truncate(size) })
}

// Size implements File.
func (f patientFile) Size() (int64, error) {
	return patiently(f.p, f.File.Size)
}
