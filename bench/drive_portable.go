//go:build !linux

package main

import "context"

// drive sends requests over so many connections, one at a time over each,
// until next gives none for any of them or ctx ends.
func drive(ctx context.Context, t target, connections int, next func(connection, n int) []byte) (*histogram, error) {
	return driveEach(ctx, t, connections, next)
}
