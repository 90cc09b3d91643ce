// Package outcome is what becomes of a request: an event, or one of a fixed set of
// errors, each of which says whether the write may have been applied.
package outcome

import (
	"errors"

	"canopy/etcdserver/auth"
	"canopy/store"
	"canopy/store/watch"
)

// Applied is what became of a request: its event and the raft position of the
// entry that carried it.
type Applied struct {
	Event     *watch.Event
	Auth      *auth.Result // of a change of users, roles or tokens
	RaftIndex uint64
	RaftTerm  uint64
}

// Outcome is what an error says about a write: of a command, or a change of the membership.
type Outcome int

const (
	// Unknown: it may be applied, now or later. Whoever repeats it may do it twice.
	Unknown Outcome = iota
	// NotApplied: it is not applied, and never will be.
	NotApplied
)

// String names the outcome as docs/api.md does.
func (o Outcome) String() string {
	if o == NotApplied {
		return "surely not applied"
	}
	return "unknown"
}

// WriteError is an error that a write can get, and what it says about the write.
type WriteError struct {
	Err     error // for the errors that are types, an example
	Outcome Outcome
	Change  bool // only a change of the membership gets it
	is      func(error) bool
}

// WriteErrors lists all errors of writes. An error that is not listed says nothing: the outcome is unknown.
func WriteErrors() []WriteError {
	return append([]WriteError(nil), writeErrors...)
}

var writeErrors = []WriteError{
	{Err: &store.Error{Code: store.CodeCompareFailed, Cause: "[a != b]"}, Outcome: NotApplied, is: isA[*store.Error]},
	{Err: &auth.DeniedError{}, Outcome: NotApplied, is: isA[*auth.DeniedError]},
	{Err: ErrTooLarge, Outcome: NotApplied},
	{Err: ErrTooBusy, Outcome: NotApplied},
	{Err: ErrNoSpace, Outcome: NotApplied},
	{Err: ErrInconsistent, Outcome: NotApplied},
	{Err: ErrStopped, Outcome: Unknown},
	{Err: ErrTimeout, Outcome: Unknown},
	{Err: ErrTimeoutLeaderFail, Outcome: Unknown},
	{Err: ErrTimeoutConnection, Outcome: Unknown},
	{Err: ErrNoSuchMember, Outcome: NotApplied, Change: true},
	{Err: ErrMemberRemoved, Outcome: NotApplied, Change: true},
	{Err: ErrPeerURLExists, Outcome: NotApplied, Change: true},
	{Err: ErrLastMember, Outcome: NotApplied, Change: true},
	{Err: &ReconfigurationError{Reason: "re-configuration failed"}, Outcome: NotApplied, Change: true, is: isA[*ReconfigurationError]},
}

// Of tells what an error says about the write that got it.
func Of(err error) Outcome {
	outcome := Unknown
	if isA[*auth.Error](err) { // only a change of users, roles or tokens gets it
		outcome = NotApplied
	}
	for _, e := range writeErrors {
		if !e.matches(err) {
			continue
		}
		if e.Outcome == Unknown {
			return Unknown // whatever it is wrapped with
		}
		outcome = e.Outcome
	}
	return outcome
}

func (e WriteError) matches(err error) bool {
	if e.is != nil {
		return e.is(err)
	}
	return errors.Is(err, e.Err)
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
