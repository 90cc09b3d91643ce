//go:build unix

package upstream

import (
	"errors"
	"syscall"
)

// hasInput tells whether there is input, or the end of the connection. It does not block: sockets of package net never do.
func hasInput(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		if !errors.Is(err, syscall.EINTR) {
			return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EWOULDBLOCK)
		}
	}
}
