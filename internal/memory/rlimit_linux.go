package memory

import "syscall"

// resourceLimit is RLIMIT_DATA, which counts the heap; 0 if there is none.
func resourceLimit() int64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_DATA, &limit) != nil || limit.Cur >= noLimit {
		return 0
	}
	return int64(limit.Cur)
}
