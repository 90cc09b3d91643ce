//go:build linux || darwin || freebsd

package disk

import (
	"io/fs"
	"math"

	"golang.org/x/sys/unix"
)

// roomOn counts what an ordinary user may have: some file systems keep a part for root.
func roomOn(dir string) (Room, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Room{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if s.Blocks == 0 {
		return Endless, nil // such as a tmpfs without a limit
	}
	return Room{Free: bytesOf(uint64(s.Bavail), int64(s.Bsize)), Total: bytesOf(uint64(s.Blocks), int64(s.Bsize))}, nil
}

// bytesOf multiplies without overflow.
func bytesOf(blocks uint64, size int64) int64 {
	if size <= 0 || blocks > uint64(math.MaxInt64/size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}
