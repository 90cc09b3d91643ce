package datadir

import (
	"errors"
	"fmt"

	"canopy/etcdserver/replica"
	"canopy/snap"
	"canopy/store"
)

// Error says why a data directory cannot be used, and what to do.
type Error struct {
	Dir    string
	Reason string
	Advice string
	Err    error // the cause, or nil
}

// Error is one line: the directory, the reason, and what to do.
func (e *Error) Error() string {
	s := fmt.Sprintf("data directory %s: %s", e.Dir, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Unusable marks what loading found wrong with a snapshot as the snapshot's own
// fault. That of another cluster, or of a newer program, is a good one
// elsewhere.
func Unusable(err error) error {
	other := (*replica.OtherClusterError)(nil)
	if err == nil || errors.As(err, &other) || errors.Is(err, store.ErrNewerFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", snap.ErrUnusable, err)
}

// isSpoiled tells whether loading failed for what a snapshot is: damaged, or no
// state that can be loaded.
func isSpoiled(err error) bool {
	corrupt := (*snap.CorruptError)(nil)
	return errors.Is(err, snap.ErrUnusable) || errors.As(err, &corrupt)
}
