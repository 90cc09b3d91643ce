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
	// ErrFailed is matched by every error after the first failed write or sync, and by that first one.
	ErrFailed = errors.New("the log has failed and accepts nothing more")
	// ErrNotReplayed says that Append, Sync or Reserve was called on an opened log before Replay.
	ErrNotReplayed = errors.New("the log has not been replayed")
	// ErrReplayed says that Replay was called a second time, or on a log just created.
	ErrReplayed = errors.New("the log has been replayed already")
)

// CorruptError says that the log on disk is not what was written. Nothing has been changed by finding out.
type CorruptError struct {
	File   string // with its path
	Offset int64  // of the first byte that is not understood, in bytes from the start of the file
	Reason string // what is wrong there
	Advice string // what an operator can do
}

// Error says all of it in one line.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s: damaged at offset %d: %s; %s", e.File, e.Offset, e.Reason, e.Advice)
}

// adviceRestore is what can be done when acknowledged records are lost.
const adviceRestore = "the file was left as it is: restore the data directory from a backup, or, if this member has peers, " +
	"remove it from the cluster and add it again with an empty data directory"

// failure is a failed write or sync, which every later call repeats: what the disk holds is unknown, and a second sync
// could succeed without the bytes.
type failure struct{ cause error }

func (f *failure) Error() string { return fmt.Sprintf("wal: %v: %v", ErrFailed, f.cause) }

// Is makes a failure match ErrFailed and its cause, but for disk.ErrNoSpace, which is said of what may be tried again.
func (f *failure) Is(target error) bool {
	return target == ErrFailed || target != disk.ErrNoSpace && errors.Is(f.cause, target)
}
