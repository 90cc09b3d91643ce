// Package membership says who takes part in raft: configurations, the changes from one to the next, and which of them is in
// force at a place in the log. It is arithmetic, without a protocol.
//
// Each change moves at most one voter, so that any quorum before it and any quorum after it have a member in common (4.1 of
// the dissertation that package raft names).
package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"canopy/raft/raftlog"
)

// MemberID names a member for ever: an id that was removed is never given to another member, since votes and
// acknowledgements of the old one may still be on their way.
type MemberID uint64

// None is no member.
const None MemberID = 0

// Why a change makes no sense, whenever it is tried.
var (
	// ErrMemberExists: the member to be added is one already.
	ErrMemberExists = errors.New("raft: member exists")
	// ErrNoSuchMember: the member to be changed is not one.
	ErrNoSuchMember = errors.New("raft: no such member")
	// ErrNotLearner: only a learner can be promoted.
	ErrNotLearner = errors.New("raft: member is not a learner")
	// ErrLastVoter: a cluster without voters could never decide anything again.
	ErrLastVoter = errors.New("raft: the last voter cannot be removed")
	// ErrTooManyMembers: the configuration has MembersMax members.
	ErrTooManyMembers = errors.New("raft: too many members")
	// ErrBadConfChange: the change cannot be decoded, or is none.
	ErrBadConfChange = errors.New("configuration change is malformed or impossible")
)

// MembersMax bounds a configuration, voters and learners together.
const MembersMax = 64

// ContextBytesMax bounds ConfChange.Context.
const ContextBytesMax = 64 << 10

// Configuration says who takes part.
//
//	Voters and Learners are sorted, without doubles, and have no member in common;  len(Voters)+len(Learners) <= MembersMax
type Configuration struct {
	Voters   []MemberID // decide elections and commits
	Learners []MemberID // receive the log, and decide nothing (4.2.1)
}

// IsVoter tells whether a member votes.
func (c Configuration) IsVoter(id MemberID) bool { return slices.Contains(c.Voters, id) }

// IsLearner tells whether a member only receives the log.
func (c Configuration) IsLearner(id MemberID) bool { return slices.Contains(c.Learners, id) }

// Contains tells whether a process is a member.
func (c Configuration) Contains(id MemberID) bool { return c.IsVoter(id) || c.IsLearner(id) }

// Equal compares two configurations.
func (c Configuration) Equal(o Configuration) bool {
	return slices.Equal(c.Voters, o.Voters) && slices.Equal(c.Learners, o.Learners)
}

// Clone gives a copy that shares no memory.
func (c Configuration) Clone() Configuration {
	return Configuration{slices.Clone(c.Voters), slices.Clone(c.Learners)}
}

// IsValid tells whether a configuration from outside is as the type promises.
func (c Configuration) IsValid() bool {
	if len(c.Voters)+len(c.Learners) > MembersMax {
		return false
	}
	for _, list := range [][]MemberID{c.Voters, c.Learners} {
		before := None
		for _, id := range list {
			if id <= before {
				return false
			}
			before = id
		}
	}
	return !slices.ContainsFunc(c.Learners, c.IsVoter)
}

// With gives the configuration after a change, or an error that tells why the change is impossible.
func (c Configuration) With(change ConfChange) (Configuration, error) {
	id := change.Member
	if id == None {
		return c, ErrNoSuchMember
	}
	adds := change.Op == AddVoter || change.Op == AddLearner
	switch {
	case adds && c.Contains(id):
		return c, ErrMemberExists
	case !adds && !c.Contains(id):
		return c, ErrNoSuchMember
	case adds && len(c.Voters)+len(c.Learners) >= MembersMax:
		return c, ErrTooManyMembers
	}
	next := c.Clone()
	switch change.Op {
	case AddVoter:
		next.Voters = insert(next.Voters, id)
	case AddLearner:
		next.Learners = insert(next.Learners, id)
	case Promote:
		if !c.IsLearner(id) {
			return c, ErrNotLearner
		}
		next.Learners = remove(next.Learners, id)
		next.Voters = insert(next.Voters, id)
	case Remove:
		next.Learners = remove(next.Learners, id)
		next.Voters = remove(next.Voters, id)
		if len(next.Voters) == 0 {
			return c, ErrLastVoter
		}
	case UpdateContext:
	default:
		return c, ErrBadConfChange
	}
	return next, nil
}

func insert(ids []MemberID, id MemberID) []MemberID {
	at, _ := slices.BinarySearch(ids, id)
	return slices.Insert(ids, at, id)
}

func remove(ids []MemberID, id MemberID) []MemberID {
	return slices.DeleteFunc(ids, func(other MemberID) bool { return other == id })
}

// ConfChangeOp is what a ConfChange does. The numbers are part of the log's format.
type ConfChangeOp uint8

// The changes. Each moves at most one voter, so that any quorum before and any after have a member in common (4.1).
const (
	AddVoter      ConfChangeOp = 1
	AddLearner    ConfChangeOp = 2
	Promote       ConfChangeOp = 3 // a learner becomes a voter
	Remove        ConfChangeOp = 4
	UpdateContext ConfChangeOp = 5 // the owner's data on a member changes, the configuration does not
)

// String gives the name that the constants have.
func (o ConfChangeOp) String() string {
	switch o {
	case AddVoter:
		return "AddVoter"
	case AddLearner:
		return "AddLearner"
	case Promote:
		return "Promote"
	case Remove:
		return "Remove"
	case UpdateContext:
		return "UpdateContext"
	}
	return fmt.Sprintf("ConfChangeOp(%d)", uint8(o))
}

// ConfChange is one step from a configuration to the next. It is in force as soon as its entry is in a member's log, and
// void again if that entry is replaced.
type ConfChange struct {
	Op      ConfChangeOp
	Member  MemberID
	Context []byte // the owner's data on the member; at most ContextBytesMax
}

// confChangeVersion is the first byte of an encoded change:
//
//	| version 1 | op 1 | member 8, big-endian | context … |
const confChangeVersion = 1

const confChangeHeader = 10

// Encode gives the data of the change's entry.
func (c ConfChange) Encode() ([]byte, error) {
	if c.Op < AddVoter || c.Op > UpdateContext || c.Member == None || len(c.Context) > ContextBytesMax {
		return nil, ErrBadConfChange
	}
	b := make([]byte, 0, confChangeHeader+len(c.Context))
	b = append(b, confChangeVersion, byte(c.Op))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Member))
	return append(b, c.Context...), nil
}

// DecodeConfChange reads an entry's data. The context is a part of b.
func DecodeConfChange(b []byte) (ConfChange, error) {
	if len(b) < confChangeHeader || len(b) > confChangeHeader+ContextBytesMax || b[0] != confChangeVersion {
		return ConfChange{}, ErrBadConfChange
	}
	c := ConfChange{Op: ConfChangeOp(b[1]), Member: MemberID(binary.BigEndian.Uint64(b[2:]))}
	if c.Op < AddVoter || c.Op > UpdateContext || c.Member == None {
		return ConfChange{}, ErrBadConfChange
	}
	if len(b) > confChangeHeader {
		c.Context = b[confChangeHeader:]
	}
	return c, nil
}

// A History has the configurations of the log in memory: steps[0] is in force at the log's base, each later one from its index
// on. steps is never empty, and steps[n].index < steps[n+1].index.
type History struct{ steps []step }

// NewHistory makes a history whose base has a configuration.
func NewHistory(base raftlog.Index, c Configuration) History { return History{[]step{{base, c}}} }

// First gives the configuration at the log's base, and the entry that made it so.
func (h *History) First() (raftlog.Index, Configuration) {
	return h.steps[0].index, h.steps[0].configuration
}

type step struct {
	index         raftlog.Index
	configuration Configuration
}

// Latest gives the configuration in force: the last one in the log, committed or not.
func (h *History) Latest() Configuration { return h.steps[len(h.steps)-1].configuration }

// LatestIndex gives the entry that made it so.
func (h *History) LatestIndex() raftlog.Index { return h.steps[len(h.steps)-1].index }

// At gives the configuration in force at an index not before the log's base.
func (h *History) At(i raftlog.Index) Configuration {
	n := len(h.steps) - 1
	for n > 0 && h.steps[n].index > i {
		n--
	}
	return h.steps[n].configuration
}

// Extend gives the history after more entries. The old history is unchanged, even when an error is returned.
func (h *History) Extend(entries []raftlog.Entry) (History, error) {
	steps := slices.Clip(h.steps)
	for i := range entries {
		e := &entries[i]
		if e.Type != raftlog.EntryConfChange {
			continue
		}
		change, err := DecodeConfChange(e.Data)
		if err != nil {
			return *h, err
		}
		next, err := steps[len(steps)-1].configuration.With(change)
		if err != nil {
			return *h, err
		}
		steps = append(steps, step{e.Index, next})
	}
	return History{steps}, nil
}

// Truncated gives the history without what came behind an index.
func (h *History) Truncated(after raftlog.Index) History {
	n := len(h.steps)
	for n > 1 && h.steps[n-1].index > after {
		n--
	}
	return History{slices.Clip(h.steps[:n])}
}

// Compact drops what is not needed to answer for indexes from i on.
func (h *History) Compact(i raftlog.Index) {
	n := 0
	for n+1 < len(h.steps) && h.steps[n+1].index <= i {
		n++
	}
	h.steps = slices.Clone(h.steps[n:])
}
