package ctl

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// echoes tells whether a terminal shows what is typed; a terminal that was closed does not.
func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	raw, err := terminal.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	echo := false
	if err := raw.Control(func(fd uintptr) {
		settings, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		echo = err == nil && settings.Lflag&unix.ECHO != 0
	}); err != nil {
		t.Fatal(err)
	}
	return echo
}
