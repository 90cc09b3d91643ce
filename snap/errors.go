package snap

import (
	"errors"
	"fmt"
)

// ErrNewerFormat says that a snapshot is of a format this program does not know yet.
var ErrNewerFormat = errors.New("written in a newer format than this program knows; use the newer program")

// ErrUnusable is for the function that reads a snapshot: its bytes are those that were saved, but they are no good.
var ErrUnusable = errors.New("the snapshot cannot be used")

// CorruptError says that a snapshot is not what was saved.
type CorruptError struct {
	File   string // with its path
	Offset int64  // of the part that is wrong, in bytes from the start of the file
	Reason string // what is wrong with it
}

// Error says all of it in one line.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("snap: %s: damaged at offset %d: %s; an older snapshot, or a backup, is needed", e.File, e.Offset,
		e.Reason)
}
