package snap

import (
	"errors"
	"fmt"
)

// ErrNewerFormat says that a newer program wrote the snapshot, in a format that this one does not know.
var ErrNewerFormat = errors.New("written in a newer format than this program knows; use the newer program")

// ErrUnusable is for the functions that read snapshots: the bytes are those that were saved, but they make no state.
var ErrUnusable = errors.New("the snapshot cannot be used")

// CorruptError says that a snapshot differs from what was saved.
type CorruptError struct {
	File   string // with its path
	Offset int64  // of the bad part in the file
	Reason string // what is wrong with it
}

// Error says all of it in one line.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("snap: %s: damaged at offset %d: %s; an older snapshot, or a backup, is needed", e.File, e.Offset,
		e.Reason)
}
