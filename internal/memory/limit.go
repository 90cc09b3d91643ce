package memory

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// The part of a limit that the budget is by default. The rest is for the state, the log in memory, and garbage.
const (
	limitPart   = 4
	machinePart = 8
	// defaultUnknown is the budget if the size of the memory is unknown.
	defaultUnknown = 256 << 20
	// smallest is the smallest default of a budget.
	smallest = 16 << 20
)

// A Limit is how much memory this process may use.
type Limit struct {
	Bytes int64  // 0: unknown
	From  string // where the limit comes from
	Hard  bool   // beyond it the process is killed, or fails
}

// FindLimit finds the lowest limit of this process: GOMEMLIMIT, the limits of its cgroups and resources, and the memory
// of the machine. root is the root of the file system.
func FindLimit(root fs.FS) Limit {
	best := Limit{Bytes: totalOf(root), From: "the machine's memory"}
	lower := func(bytes int64, from string, hard bool) {
		if bytes > 0 && (best.Bytes == 0 || bytes < best.Bytes) {
			best = Limit{bytes, from, hard}
		}
	}
	lower(cgroupLimit(root), "the limit of its cgroup", true)
	lower(resourceLimit(), "RLIMIT_DATA", true)
	if soft := debug.SetMemoryLimit(-1); soft < math.MaxInt64 {
		lower(soft, "GOMEMLIMIT", true)
	}
	return best
}

// Budget is the default size of a budget under this limit.
func (l Limit) Budget() int64 {
	switch {
	case l.Bytes == 0:
		return defaultUnknown
	case l.Hard:
		return max(l.Bytes/limitPart, smallest)
	default:
		return max(l.Bytes/machinePart, smallest)
	}
}

// totalOf is the memory of the machine; 0 if unknown.
func totalOf(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil || kib > math.MaxInt64>>10 {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// cgroupLimit is the lowest limit of the cgroups of this process, of either version; 0 if there is none.
func cgroupLimit(root fs.FS) (lowest int64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) { // number:controllers:path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		var mounts []string
		file := "memory.max"
		switch {
		case fields[1] == "":
			mounts = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		case strings.Contains(","+fields[1]+",", ",memory,"):
			mounts, file = []string{"sys/fs/cgroup/memory"}, "memory.limit_in_bytes"
		}
		for _, mount := range mounts {
			if n := lowestAbove(root, mount, fields[2], file); n > 0 && (lowest == 0 || n < lowest) {
				lowest = n
			}
		}
	}
	return lowest
}

// noLimit and above mean that a cgroup has no limit: version 1 writes the largest number of pages then.
const noLimit = 1 << 60

// lowestAbove is the lowest limit of a cgroup and its parents. In a container the path may be the one on the host, and
// then only the mount point itself exists.
func lowestAbove(root fs.FS, mount, below, file string) (lowest int64) {
	for dir := path.Clean("/" + below); ; dir = path.Dir(dir) {
		text, err := fs.ReadFile(root, path.Join(mount, dir, file))
		if err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // fails on "max"
			if err == nil && n > 0 && n < noLimit && (lowest == 0 || n < lowest) {
				lowest = n
			}
		}
		if dir == "/" {
			return lowest
		}
	}
}
