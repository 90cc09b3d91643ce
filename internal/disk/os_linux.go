package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData leaves out what reading back does not need, such as times: one trip to the disk less.
func syncData(f *os.File) error {
	err := retried(func() error { return unix.Fdatasync(int(f.Fd())) })
	return os.NewSyscallError("fdatasync "+f.Name(), err)
}

// allocate returns errors.ErrUnsupported, wrapped, if the file system cannot.
func allocate(f *os.File, size int64) error {
	err := retried(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	return os.NewSyscallError("fallocate "+f.Name(), err)
}

// retried repeats a call that a signal interrupted before it did anything.
func retried(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
