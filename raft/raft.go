// Package raft keeps one log the same on all members of a cluster.
//
// A Machine is one member's part in Raft (Ongaro, "Consensus: Bridging Theory and Practice", 2014; section and figure
// numbers in comments are of that dissertation). It is a function of its inputs: it has no goroutine, no clock, no
// random numbers, disk or network of its own. Its owner tells it what happened, and collects what is to be done:
//
//	Tick, Step, Propose, ReadIndex, …  ->  Machine  ->  Work{Write, Send, Apply, …}
//	Durable, Applied, SnapshotSent     ->           (what became of former work)
//
// The nouns: an Entry of the log; the HardState and the entries that a Write carries to disk; a Message to another
// member, one Go type a kind; the Configuration, which names voters and learners; a SnapshotMeta, which stands for
// the log up to its index.
//
// The disk is slow, so the machine never waits for it. What it hands out in Work.Write it already counts as its own;
// but no other member is told so before Durable: votes and acknowledgements are held back until the write that they
// promise is on disk. A leader sends entries while it writes them, and counts itself only for what is durable.
//
// Invariants that the tests check after every step: at most one leader a term (election safety); two logs that
// agree on an entry agree on all before it (log matching); a leader has all committed entries (leader completeness);
// no two members apply different entries at one index (state machine safety).
//
// Where state is kept, who runs the loop, what entries mean, and how a snapshot's content travels is left to the owner.
// A Machine is used by one goroutine.
package raft

import "math"

// Index is a position in the log. The first entry has index 1; 0 is the position before it.
type Index uint64

// Term is a leader's period of office. Terms begin at 1; 0 is the term before any election.
type Term uint64

// MemberID names a member for ever: an id that was removed is never given to another member, since votes and
// acknowledgements of the old one may still be on their way.
type MemberID uint64

// None is no member.
const None MemberID = 0

// Bounds on what peers and disks may claim, far beyond what a cluster reaches and far below where arithmetic overflows.
const (
	indexMax    Index = math.MaxUint64 / 4
	termMax     Term  = math.MaxUint64 / 4
	termLeapMax Term  = 1 << 40 // how far a message's term may be ahead of our own
)

// EntryType says how an entry's data is to be read.
type EntryType uint8

// The types of entries.
const (
	EntryNormal     EntryType = iota // data of the owner; nil for the entry that opens a leader's term
	EntryConfChange                  // an encoded ConfChange
)

// Entry is one record of the log. Its data is never changed once the machine has it.
type Entry struct {
	Index Index
	Term  Term
	Type  EntryType
	Data  []byte
}

// HardState is what a member must not forget: voting twice in a term would elect two leaders (3.4). Commit need not
// be kept for safety; it is written along so that a restarted member can apply at once.
type HardState struct {
	Term   Term
	Vote   MemberID
	Commit Index
}

// SnapshotMeta says which part of the log a snapshot stands for: all up to Index. Configuration is the one in force there.
type SnapshotMeta struct {
	Index         Index
	Term          Term
	Configuration Configuration
}

// State is what recovery found on disk.
//
// A member of a new cluster starts from Bootstrap, the same on all of them, as if recovery had found it; a member that
// joins starts from the zero State, and learns all from the leader.
type State struct {
	HardState HardState
	Snapshot  SnapshotMeta
	Entries   []Entry // contiguous, the first one at Snapshot.Index+1
	Applied   Index   // the owner's state includes the log up to here, which is committed; at or before Snapshot.Index: up to there
}

// Bootstrap gives the state from which all first members of a new cluster start: a log that adds each of them, committed. The first
// configuration is in the log, and not beside it, so that later members learn it like everything else. The owner has the state on disk
// before it runs New.
func Bootstrap(members ...ConfChange) (State, error) {
	s := State{HardState: HardState{Term: 1, Commit: Index(len(members))}}
	configs := configHistory{[]configStep{{}}}
	for i, c := range members {
		data, err := c.Encode()
		if err != nil {
			return State{}, err
		}
		s.Entries = append(s.Entries, Entry{Index: Index(i + 1), Term: 1, Type: EntryConfChange, Data: data})
	}
	if _, err := configs.extend(s.Entries); err != nil {
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
