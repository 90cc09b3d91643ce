package httpserver

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes is how much of an answer the system buffers while it cannot send. The default is several MiB for each client
// that does not read: memory that no budget sees, and a cgroup counts.
const unsentBytes = 128 << 10

// noticeVanished makes the connections of a listening socket fail when sent data has not been acknowledged for
// vanishedAfter. Without it the system tries for a quarter of an hour, and sends no keep-alive meanwhile; the memory of
// the events that it tries to send would be held for as long.
func noticeVanished(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(vanishedAfter.Milliseconds())),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes),
		)
	})
	return errors.Join(err, failed)
}
