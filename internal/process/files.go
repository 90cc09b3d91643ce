package process

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// FilesReserved are file descriptors that are not for client connections (F36).
const FilesReserved = 150

// FileLimit is how many file descriptors the process may have; 0: unknown. Go's
// runtime raises the soft limit to the hard one before main.
func FileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

// CheckFileLimit refuses to serve with too few file descriptors.
func CheckFileLimit() error {
	if limit := FileLimit(); limit != 0 && limit <= FilesReserved {
		return fmt.Errorf("file descriptor limit[%d] of this process is too low, and should be set higher than %d to ensure internal usage", limit, FilesReserved)
	}
	return nil
}

// filesSampled is how often the open file descriptors are counted (S27).
const filesSampled = 5 * time.Second

// SampleFiles reports the number of open file descriptors until ctx ends. It
// reports nothing on systems without /proc.
func SampleFiles(ctx context.Context, report func(open float64)) {
	tick := time.NewTicker(filesSampled)
	defer tick.Stop()
	for {
		if open, err := os.ReadDir("/proc/self/fd"); err == nil {
			report(float64(len(open)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
