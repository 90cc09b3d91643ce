package raft

import (
	"errors"
	"fmt"

	"canopy/raft/membership"
)

// Why a proposal, a read or a transfer is refused. It may be tried again later.
var (
	// ErrNoLeader: no leader is known that could be asked.
	ErrNoLeader = errors.New("raft: no leader")
	// ErrNotReady: the leader has not yet committed an entry of its own term, and so may not change the configuration (4.1).
	ErrNotReady = errors.New("raft: leader has not committed in its term yet")
	// ErrTransferring: leadership is being handed over, and nothing is accepted until that has succeeded or timed out.
	ErrTransferring = errors.New("raft: leadership is being transferred")
	// ErrTooMuchUnapplied: Config.MaxUnappliedBytes are waiting for the state machine.
	ErrTooMuchUnapplied = errors.New("raft: too many bytes wait to be applied")
	// ErrTooMuchUncommitted: Config.MaxUncommittedBytes are waiting for a quorum.
	ErrTooMuchUncommitted = errors.New("raft: too many bytes wait to be committed")
	// ErrTooManyReads: readsMax reads are waiting for a quorum.
	ErrTooManyReads = errors.New("raft: too many reads wait for an index")
	// ErrConfChangePending: the last change of configuration is not committed yet.
	ErrConfChangePending = errors.New("raft: a configuration change is in flight")
	// ErrLogFull: the log's index or term has reached the end of its range.
	ErrLogFull = errors.New("raft: log index exhausted")
)

// Why a change of configuration makes no sense, whenever it is tried.
var (
	ErrMemberExists   = membership.ErrMemberExists
	ErrNoSuchMember   = membership.ErrNoSuchMember
	ErrNotLearner     = membership.ErrNotLearner
	ErrLastVoter      = membership.ErrLastVoter
	ErrTooManyMembers = membership.ErrTooManyMembers
	// ErrNotCaughtUp: the learner lacks too much of the log to be promoted now.
	ErrNotCaughtUp = errors.New("raft: learner has not caught up")
	// ErrNotVoter: leadership can only go to another voter.
	ErrNotVoter = errors.New("raft: member is not another voter")
)

// Why a message is refused: the reasons inside ErrRefused.
var (
	ErrUnknownKind      = errors.New("not a message of this protocol")
	ErrUnknownMember    = errors.New("sender is not a member")
	ErrBadSender        = errors.New("sender is none or the receiver itself")
	ErrBadTerm          = errors.New("term is 0 or out of range")
	ErrBadIndex         = errors.New("index out of range")
	ErrBadEntry         = errors.New("entries not contiguous, out of term order, or of unknown type")
	ErrBadConfChange    = membership.ErrBadConfChange
	ErrBadConfiguration = errors.New("configuration is malformed")
	ErrTwoLeaders       = errors.New("term has another leader")
	ErrConflict         = errors.New("contradicts entries already agreed on")
	ErrBeyondLog        = errors.New("index lies beyond the log")
)

// ErrNotLeader refuses what only a leader can do. Leader is who to ask, or None.
type ErrNotLeader struct{ Leader MemberID }

// Error implements error.
func (e ErrNotLeader) Error() string {
	if e.Leader == None {
		return "raft: not the leader, and none is known"
	}
	return fmt.Sprintf("raft: not the leader; %x is", uint64(e.Leader))
}

// ErrRefused is a message that was refused, and changed nothing. Reason is one of the values above.
type ErrRefused struct {
	From   MemberID
	Kind   string // the Go type of the message
	Reason error
}

// Error implements error.
func (e ErrRefused) Error() string {
	return fmt.Sprintf("raft: refused %s from %x: %v", e.Kind, uint64(e.From), e.Reason)
}

// Unwrap gives the reason to errors.Is.
func (e ErrRefused) Unwrap() error { return e.Reason }

// ErrConfig is a Config that New does not take.
type ErrConfig struct{ Field, Problem string }

// Error implements error.
func (e ErrConfig) Error() string { return fmt.Sprintf("raft: Config.%s %s", e.Field, e.Problem) }

// ErrState is a State that New does not take, because no run of a machine leaves it on a disk: something is missing
// there or was changed. Index is where, if it is about an entry.
type ErrState struct {
	Index   Index
	Problem string
}

// Error implements error.
func (e ErrState) Error() string {
	return fmt.Sprintf("raft: recovered state is inconsistent at index %d: %s", e.Index, e.Problem)
}

// ErrCompact is a snapshot or a range that Compact does not take.
type ErrCompact struct {
	Index   Index
	Problem string
}

// Error implements error.
func (e ErrCompact) Error() string { return fmt.Sprintf("raft: compact at %d: %s", e.Index, e.Problem) }
