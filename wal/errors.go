package wal

import (
	"errors"
	"fmt"

	"canopy/internal/disk"
)

// Errors of opening.
var (
	ErrNotFound    = errors.New("no log there")
	ErrExists      = errors.New("a log exists already")
	ErrNewerFormat = errors.New("written in a newer format than this program knows; use the newer program")
)

// Errors of using an open log.
var (
	// ErrFailed matches the error of the first write or sync that failed, and every error after it.
	ErrFailed = errors.New("the log has failed and accepts nothing more")
	// ErrNotReplayed says that Append, Sync or Reserve was called before Replay.
	ErrNotReplayed = errors.New("the log has not been replayed")
	// ErrReplayed says that Replay was called a second time, or on a log that Create made.
	ErrReplayed = errors.New("the log has been replayed already")
)

// CorruptError says that the log on disk differs from what was written. Nothing on disk was changed.
type CorruptError struct {
	File   string // with its path
	Offset int64  // of the first bad byte in the file
	Reason string // what is wrong there
	Advice string // what an operator can do
}

// Error says all of it in one line.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s: damaged at offset %d: %s; %s", e.File, e.Offset, e.Reason, e.Advice)
}

// adviceRestore is the advice when acknowledged records are lost.
const adviceRestore = "the file was left as it is: restore the data directory from a backup, or, if this member has peers, " +
	"remove it from the cluster and add it again with an empty data directory"

// failure is a write or sync that failed. Every later call returns it: it is unknown what is on disk, and a second sync
// could succeed although the bytes are not there.
type failure struct{ cause error }

func (f *failure) Error() string { return fmt.Sprintf("wal: %v: %v", ErrFailed, f.cause) }

// Is matches ErrFailed and the cause, except disk.ErrNoSpace, which says that a call can be repeated.
func (f *failure) Is(target error) bool {
	return target == ErrFailed || target != disk.ErrNoSpace && errors.Is(f.cause, target)
}
