//go:build unix

package main

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// settle waits until all that was written is on disk: what the server before
// has left to the system must not be at the cost of the next one.
func settle() { unix.Sync() }

// allocated is how many bytes of the disk a file takes.
func allocated(info fs.FileInfo) int64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size()
	}
	return stat.Blocks * 512
}
