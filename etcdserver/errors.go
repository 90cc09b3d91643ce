package etcdserver

import (
	"errors"
	"fmt"
)

// Errors of a request. Their texts are the causes that clients see behind code
// 300 (E25).
var (
	// ErrTimeout: nothing finer is known. Whether the write happened is unknown (K122).
	ErrTimeout = errors.New("etcdserver: request timed out")
	// ErrTimeoutLeaderFail: the leader was lost while the request waited.
	ErrTimeoutLeaderFail = errors.New("etcdserver: request timed out, possibly due to previous leader failure")
	// ErrTimeoutConnection: the leader, or on the leader the quorum, could not be reached.
	ErrTimeoutConnection = errors.New("etcdserver: request timed out, possibly due to connection lost")
	// ErrStopped: the member stopped while the request waited (K126).
	ErrStopped = errors.New("etcdserver: server stopped")
	// ErrNoSpace: the disk is full; reads, deletes and expiry go on, and writes come back when there is room (R8).
	ErrNoSpace = errors.New("etcdserver: no space left on device, only reads and deletes are served")
	// ErrTooBusy: more requests wait than the member holds. Nothing was done.
	ErrTooBusy = errors.New("etcdserver: too many requests are waiting")
	// ErrTooLarge: the request does not fit a log record. Nothing was done.
	ErrTooLarge = errors.New("etcdserver: request is too large")
)

// DataDirError says why a data directory cannot be used, and what to do.
type DataDirError struct {
	Dir    string
	Reason string
	Advice string
	Err    error // the cause, or nil
}

// Error is one line: the directory, the reason, and what to do.
func (e *DataDirError) Error() string {
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
func (e *DataDirError) Unwrap() error { return e.Err }
