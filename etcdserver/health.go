package etcdserver

import (
	"context"
	"fmt"
)

// Health tells whether this member can serve linearizable reads: it takes one round of
// heartbeats within an election time-out, and no log entry (S17). A member that refuses
// writes is not healthy either, like the reference with a NOSPACE alarm. The error is an
// *UnhealthyError, or ErrInconsistent.
func (r *requests) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.election, ErrTimeout)
	defer cancel()
	if _, undecided := r.status.comparison.Differences(); undecided || r.damage.found.Load() {
		return ErrInconsistent
	}
	if err := r.barrier(ctx); err != nil {
		return &UnhealthyError{Reason: r.whyNoQuorum(), Err: err}
	}
	if r.status.writer.Space().Full() {
		return &UnhealthyError{Reason: "the disk is full: writes are refused, reads and deletes go on", Err: ErrNoSpace}
	}
	return nil
}

func (r *requests) whyNoQuorum() string {
	if leader := r.status.Leader(); leader != 0 {
		return fmt.Sprintf("no quorum answers the leader, %s, or it does not answer: %v", r.status.title(leader), r.status.reach())
	}
	return fmt.Sprintf("there is no leader: %v", r.status.reach())
}

// UnhealthyError says why a member is not healthy.
type UnhealthyError struct {
	Reason string // for people
	Err    error
}

// Error gives the reason.
func (e *UnhealthyError) Error() string { return e.Reason }

// Unwrap gives the cause.
func (e *UnhealthyError) Unwrap() error { return e.Err }
