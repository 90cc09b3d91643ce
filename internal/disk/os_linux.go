package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncData leaves out what reading back does not need, such as times: one trip to the disk less.
func syncData(f *os.File) error {
	return failed("fdatasync", f, retried(func() error { return unix.Fdatasync(int(f.Fd())) }))
}

// allocate returns errors.ErrUnsupported, wrapped, if the file system cannot.
func allocate(f *os.File, size int64) error {
	return failed("fallocate", f, retried(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }))
}

func failed(call string, f *os.File, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: call, Path: f.Name(), Err: err}
}

// retried repeats a call that a signal interrupted before it did anything.
func retried(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
