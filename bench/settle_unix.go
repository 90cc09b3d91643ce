//go:build unix

package main

import "golang.org/x/sys/unix"

// settle waits until all that was written is on disk: what the server before
// has left to the system must not be at the cost of the next one.
func settle() { unix.Sync() }
