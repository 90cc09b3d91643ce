package etcdserver

import (
	"canopy/etcdserver/consistency"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/replica"
)

// What the API of this package has from those below it.
type (
	// ID is the number of a member or of a cluster.
	ID = replica.ID
	// MemberInfo is one member as the cluster knows it.
	MemberInfo = replica.MemberInfo
	// Force says whether a member is to found a cluster of its own from its data.
	Force = datadir.Force
	// DataDirError says why a data directory cannot be used, and what to do.
	DataDirError = datadir.Error
	// Bootstrap says who the first members of a new cluster are, or which running cluster is joined.
	Bootstrap = firststart.Bootstrap
	// Joined is what the members of a running cluster said of it.
	Joined = firststart.Joined
	// Space is the room on a member's disk.
	Space = logwriter.Status
	// Difference is a member whose state, when it was compared last, was not this one's.
	Difference = consistency.Difference
	// Snapshot is the whole replicated state, ready to be saved.
	Snapshot = replica.Snapshot
	// Applied is what became of a request: its event and its position in the log.
	Applied = outcome.Applied
	// Outcome is what an error says about a write.
	Outcome = outcome.Outcome
	// WriteError is an error that a write can get, and what it says about the write.
	WriteError = outcome.WriteError
	// ReconfigurationError is a membership change that the leader refuses because it would endanger the cluster.
	ReconfigurationError = outcome.ReconfigurationError
)

// The outcomes.
const (
	OutcomeUnknown = outcome.Unknown
	NotApplied     = outcome.NotApplied
)

// Errors of requests; package outcome says what each of them means.
var (
	ErrTimeout           = outcome.ErrTimeout
	ErrTimeoutLeaderFail = outcome.ErrTimeoutLeaderFail
	ErrTimeoutConnection = outcome.ErrTimeoutConnection
	ErrStopped           = outcome.ErrStopped
	ErrNoSpace           = outcome.ErrNoSpace
	ErrTooBusy           = outcome.ErrTooBusy
	ErrInconsistent      = outcome.ErrInconsistent
	ErrTooLarge          = outcome.ErrTooLarge
	ErrNoSuchMember      = outcome.ErrNoSuchMember
	ErrMemberRemoved     = outcome.ErrMemberRemoved
	ErrPeerURLExists     = outcome.ErrPeerURLExists
	ErrLastMember        = outcome.ErrLastMember
)

// WriteErrors lists all errors of writes. An error that is not listed says nothing: the outcome is unknown.
func WriteErrors() []WriteError { return outcome.WriteErrors() }

// OutcomeOf tells what an error says about the write that got it.
func OutcomeOf(err error) Outcome { return outcome.Of(err) }
