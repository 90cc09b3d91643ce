//go:build !unix

package main

import "io/fs"

// settle does nothing where the system cannot be asked to write everything.
func settle() {}

// allocated is how many bytes of the disk a file takes, if it has no holes.
func allocated(info fs.FileInfo) int64 { return info.Size() }
