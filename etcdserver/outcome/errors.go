package outcome

import "errors"

// Errors of a request. Their texts are the causes that clients see behind code
// 300 (E25).
var (
	// ErrTimeout: the cause is unknown. Whether the write happened is unknown (K122).
	ErrTimeout = errors.New("etcdserver: request timed out")
	// ErrTimeoutLeaderFail: the leader was lost while the request waited.
	ErrTimeoutLeaderFail = errors.New("etcdserver: request timed out, possibly due to previous leader failure")
	// ErrTimeoutConnection: the leader, or on the leader the quorum, could not be reached.
	ErrTimeoutConnection = errors.New("etcdserver: request timed out, possibly due to connection lost")
	// ErrStopped: the member stopped while the request waited (K126).
	ErrStopped = errors.New("etcdserver: server stopped")
	// ErrNoSpace: the disk is full; reads, deletes and expiry go on, and writes come back when there is room (R8).
	// Deletes have it only while there is no room for a snapshot either. Nothing was done.
	ErrNoSpace = errors.New("etcdserver: no space left on device, only reads and deletes are served")
	// ErrTooBusy: more requests wait than the member holds, or a delete waits for a snapshot on a full disk. Nothing was done.
	ErrTooBusy = errors.New("etcdserver: too many requests are waiting")
	// ErrInconsistent: this member's state is not that of the others, or nobody knows which is right (R12). Nothing was done.
	ErrInconsistent = errors.New("etcdserver: the members' states differ")
	// ErrTooLarge: the request does not fit a log record. Nothing was done.
	ErrTooLarge = errors.New("etcdserver: request is too large")
)

// Errors of membership changes. Nothing was changed.
var (
	// ErrNoSuchMember: no member has this id.
	ErrNoSuchMember = errors.New("etcdserver: no such member")
	// ErrMemberRemoved: the member was removed, and its ID is refused from then on (M42).
	ErrMemberRemoved = errors.New("etcdserver: member permanently removed")
	// ErrPeerURLExists: another member has one of the peer URLs (M18).
	ErrPeerURLExists = errors.New("etcdserver: peerURL exists")
	// ErrLastMember: a cluster needs a voter (M26).
	ErrLastMember = errors.New("etcdserver: the last member cannot be removed")
)

// ReconfigurationError is a membership change that the leader refuses because
// it would endanger the cluster (M34).
type ReconfigurationError struct{ Reason string }

// Error gives the reason.
func (e *ReconfigurationError) Error() string { return "etcdserver: " + e.Reason }
