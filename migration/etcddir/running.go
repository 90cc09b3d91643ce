package etcddir

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// RunningError is a source whose server runs (G5).
type RunningError struct{ Path string }

// Error says what to do.
func (e *RunningError) Error() string {
	return fmt.Sprintf("etcd is running on %s; stop it, or copy it first", e.Path)
}

// hold locks a segment as the servers do: those of 2.x by flock, later ones by a lock of the open file, for which it must be open
// for writing. Nothing is written. The locks end with Close.
func hold(segment, place string) (io.Closer, error) {
	f, err := os.OpenFile(segment, os.O_RDWR, 0)
	writable := err == nil
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = os.Open(segment)
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = lockOpenFile(f.Fd(), writable)
	}
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errors.Join(&RunningError{place}, f.Close())
	}
	if err != nil && !errors.Is(err, unix.ENOLCK) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", segment, err), f.Close())
	}
	return f, nil
}
