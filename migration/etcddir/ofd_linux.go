package etcddir

import "golang.org/x/sys/unix"

// lockOpenFile takes a lock of the open file, as etcd 3.x does on Linux.
func lockOpenFile(fd uintptr, writable bool) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if !writable {
		lock.Type = unix.F_RDLCK
	}
	return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &lock)
}
