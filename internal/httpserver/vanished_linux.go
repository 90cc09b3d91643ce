package httpserver

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes is how much of an answer the system takes for a connection that
// cannot send it yet. Else that is up to some MiB, of memory that no budget sees
// and a cgroup counts, for each client that does not read.
const unsentBytes = 128 << 10

// noticeVanished has the connections of a listening socket fail once what was
// sent has not been acknowledged for vanishedAfter. Without it the system tries
// for a quarter of an hour, and sends no keep-alive meanwhile. The clients of
// events that are on their way would keep what they take for as long.
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
