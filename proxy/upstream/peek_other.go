//go:build !unix

package upstream

// hasInput cannot tell here: what is idle is taken to be well, and a wait for input becomes a read.
func hasInput(uintptr) bool { return false }
