// Package raft keeps one log the same on all members of a cluster.
//
// A Machine is one member's part in Raft (Ongaro, "Consensus: Bridging Theory and Practice", 2014; section and figure
// numbers in comments are of that dissertation). It is a function of its inputs: it has no goroutine, no clock, no
// random numbers, disk or network of its own. Its owner tells it what has happened, and collects what it must do:
//
//	Tick, Step, Propose, ReadIndex, …  ->  Machine  ->  Work{Write, Send, Apply, …}
//	Durable, Applied, SnapshotSent     ->           (what became of former work)
//
// The nouns: an Entry of the log; the HardState and the entries that a Write carries to disk; a Message to another
// member, one Go type a kind; the Configuration, which names voters and learners; a SnapshotMeta, which stands for
// the log up to its index.
//
// The disk is slow, so the machine never waits for it. It counts what it hands out in Work.Write as its own at once. But it
// holds votes and acknowledgements back until Durable says that the write which they promise is on disk. A leader sends
// entries while it writes them, and counts itself only for what is durable.
//
// Invariants that the tests check after every step: at most one leader a term (election safety); two logs that
// agree on an entry agree on all before it (log matching); a leader has all committed entries (leader completeness);
// no two members apply different entries at one index (state machine safety).
//
// Where state is kept, who runs the loop, what entries mean, and how a snapshot's content travels is left to the owner.
// A Machine is used by one goroutine.
package raft

import (
	"math"

	"canopy/raft/membership"
	"canopy/raft/raftlog"
)

// The vocabulary of the log and of membership. Packages raftlog and membership define it, so that they do not depend on the
// machine.
type (
	Index        = raftlog.Index
	Term         = raftlog.Term
	Entry        = raftlog.Entry
	EntryType    = raftlog.EntryType
	MemberID     = membership.MemberID
	ConfChange   = membership.ConfChange
	ConfChangeOp = membership.ConfChangeOp

	Configuration = membership.Configuration
)

// The types of entries, and the changes of a configuration.
const (
	EntryNormal     = raftlog.EntryNormal
	EntryConfChange = raftlog.EntryConfChange

	AddVoter      = membership.AddVoter
	AddLearner    = membership.AddLearner
	Promote       = membership.Promote
	Remove        = membership.Remove
	UpdateContext = membership.UpdateContext
)

// None is no member.
const None = membership.None

// DecodeConfChange reads the data of an EntryConfChange.
func DecodeConfChange(data []byte) (ConfChange, error) { return membership.DecodeConfChange(data) }

// Bounds on what peers and disks may claim, far beyond what a cluster reaches and far below where arithmetic overflows.
const (
	indexMax    Index = math.MaxUint64 / 4
	termMax     Term  = math.MaxUint64 / 4
	termLeapMax Term  = 1 << 40 // how far a message's term may be ahead of our own
)

// HardState is what a member must not forget: voting twice in a term would elect two leaders (3.4). Safety does not need
// Commit; it is written as well, so that a restarted member can apply at once.
type HardState struct {
	Term   Term
	Vote   MemberID
	Commit Index
}

// SnapshotMeta says which part of the log a snapshot replaces: all up to Index. Configuration is the one in force there.
type SnapshotMeta struct {
	Index         Index
	Term          Term
	Configuration Configuration
}

// State is what recovery found on disk.
//
// A member of a new cluster starts from Bootstrap, which is the same on all members, as if recovery had found it. A member
// that joins starts from the zero State, and the leader sends it everything.
type State struct {
	HardState HardState
	Snapshot  SnapshotMeta
	Entries   []Entry // contiguous, the first one at Snapshot.Index+1
	Applied   Index   // the owner's state includes the log up to here, which is committed; at or before Snapshot.Index: up to there
}

// Bootstrap gives the state from which all first members of a new cluster start: a log that adds each of them, committed. The first
// configuration is in the log, so that later members learn it like everything else. The owner writes the state to disk before it
// calls New.
func Bootstrap(members ...ConfChange) (State, error) {
	s := State{HardState: HardState{Term: 1, Commit: Index(len(members))}}
	configs := membership.NewHistory(0, Configuration{})
	for i, c := range members {
		data, err := c.Encode()
		if err != nil {
			return State{}, err
		}
		s.Entries = append(s.Entries, Entry{Index: Index(i + 1), Term: 1, Type: EntryConfChange, Data: data})
	}
	if _, err := configs.Extend(s.Entries); err != nil {
		return State{}, err
	}
	return s, nil
}

// Role is what a member is doing at the moment.
type Role uint8

// The roles.
const (
	Follower     Role = iota // listens to a leader, or waits for one
	PreCandidate             // asks whether it could win an election (9.6)
	Candidate                // asks for votes
	Leader                   // decides what is appended
)

// String gives the role's name in lower case.
func (r Role) String() string {
	switch r {
	case Follower:
		return "follower"
	case PreCandidate:
		return "pre-candidate"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	}
	return "unknown"
}
