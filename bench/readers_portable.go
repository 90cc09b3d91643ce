//go:build !linux

package main

// readers read all streams.
type readers = eachReaders
