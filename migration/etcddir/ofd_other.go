//go:build !linux

package etcddir

// lockOpenFile has nothing to do: only on Linux does etcd take such a lock.
func lockOpenFile(uintptr, bool) error { return nil }
