package raft

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// MembersMax bounds a configuration, voters and learners together.
const MembersMax = 64

// ContextBytesMax bounds ConfChange.Context.
const ContextBytesMax = 64 << 10

// Configuration says who takes part. Both lists are sorted and have no member in common.
type Configuration struct {
	Voters   []MemberID // decide elections and commits
	Learners []MemberID // receive the log, and decide nothing (4.2.1)
}

// IsVoter says whether a member votes.
func (c Configuration) IsVoter(id MemberID) bool { return slices.Contains(c.Voters, id) }

// IsLearner says whether a member only receives the log.
func (c Configuration) IsLearner(id MemberID) bool { return slices.Contains(c.Learners, id) }

// Contains says whether a member is one at all.
func (c Configuration) Contains(id MemberID) bool { return c.IsVoter(id) || c.IsLearner(id) }

// Equal compares two configurations.
func (c Configuration) Equal(o Configuration) bool {
	return slices.Equal(c.Voters, o.Voters) && slices.Equal(c.Learners, o.Learners)
}

// clone gives a copy that shares no memory.
func (c Configuration) clone() Configuration {
	return Configuration{slices.Clone(c.Voters), slices.Clone(c.Learners)}
}

// valid says whether a configuration from outside has the form that the type promises.
func (c Configuration) valid() bool {
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

// With gives the configuration after a change, or says why there is none.
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
	next := c.clone()
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

// ConfChangeOp says what a ConfChange does. The numbers are part of the log's format.
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

// configHistory holds the configurations of the log in memory: steps[0] is in force at the log's base, each later one from its
// index on.
type configHistory struct{ steps []configStep }

type configStep struct {
	index         Index
	configuration Configuration
}

// latest gives the configuration in force: the last one in the log, committed or not.
func (h *configHistory) latest() Configuration { return h.steps[len(h.steps)-1].configuration }

// latestIndex gives the entry that made it so.
func (h *configHistory) latestIndex() Index { return h.steps[len(h.steps)-1].index }

// at gives the configuration in force at an index not before the log's base.
func (h *configHistory) at(i Index) Configuration {
	n := len(h.steps) - 1
	for n > 0 && h.steps[n].index > i {
		n--
	}
	return h.steps[n].configuration
}

// extend gives the history after more entries. The old history is unchanged, even when an error is returned.
func (h *configHistory) extend(entries []Entry) (configHistory, error) {
	steps := slices.Clip(h.steps)
	for i := range entries {
		e := &entries[i]
		if e.Type != EntryConfChange {
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
		steps = append(steps, configStep{e.Index, next})
	}
	return configHistory{steps}, nil
}

// truncated gives the history without what came behind an index.
func (h *configHistory) truncated(after Index) configHistory {
	n := len(h.steps)
	for n > 1 && h.steps[n-1].index > after {
		n--
	}
	return configHistory{slices.Clip(h.steps[:n])}
}

// compact forgets what is not needed to answer for indexes from i on.
func (h *configHistory) compact(i Index) {
	n := 0
	for n+1 < len(h.steps) && h.steps[n+1].index <= i {
		n++
	}
	h.steps = slices.Clone(h.steps[n:])
}

// promoteLagMax is how many committed entries a learner may lack to be promoted. Those are on their way within a
// message or two, so that the new quorum is not slower than the old one (4.2.1).
const promoteLagMax = 1024

// ProposeConfChange appends a change to the leader's log, and puts it in force. One is allowed at a time, and only
// once an entry of the leader's own term is committed: else two leaders could take steps that their quorums do not
// share (Ongaro, raft-dev, July 2015).
func (m *Machine) ProposeConfChange(c ConfChange) (Index, Term, error) {
	if err := m.canPropose(); err != nil {
		return 0, 0, err
	}
	if !m.committedInTerm() {
		return 0, 0, ErrNotReady
	}
	if m.configs.latestIndex() > m.commit {
		return 0, 0, ErrConfChangePending
	}
	data, err := c.Encode()
	if err != nil {
		return 0, 0, err
	}
	if _, err := m.configs.latest().With(c); err != nil {
		return 0, 0, err
	}
	if c.Op == Promote {
		if p := m.leading.peer(c.Member); p != nil && !p.caughtUp(m.commit) {
			return 0, 0, ErrNotCaughtUp
		}
	}
	m.appendOwn(EntryConfChange, data)
	return m.log.last(), m.term, nil
}

// Configuration gives the configuration in force, which may not be committed yet.
func (m *Machine) Configuration() Configuration { return m.configs.latest().clone() }

// setConfigs puts a history of configurations in force.
func (m *Machine) setConfigs(h configHistory) {
	m.configs = h
	if m.leading != nil {
		m.leading.follow(h.latest(), h.latestIndex(), m.id, m.log.last(), m.config.ElectionTicks+1)
	}
}

// mayCampaign says whether the member may stand for election. One that is removed by an entry that is not known to be committed
// still may, since the others may need its log to commit that entry (4.2.2). One that has retired may not.
func (m *Machine) mayCampaign() bool {
	if m.retired {
		return false
	}
	if m.configs.latest().IsVoter(m.id) {
		return true
	}
	return m.configs.latestIndex() > m.commit && m.configs.at(m.commit).IsVoter(m.id)
}

// alone says whether the member is the only voter, and so needs to ask nobody.
func (m *Machine) alone() bool {
	voters := m.configs.latest().Voters
	return len(voters) == 1 && voters[0] == m.id
}

// leaveIfRemoved ends the office of a leader whose own removal is committed (4.2.2). The voter with the longest log is told to
// follow at once, so that the cluster is not without leader for a time-out.
func (m *Machine) leaveIfRemoved() {
	l := m.leading
	if m.configs.latest().IsVoter(m.id) || m.configs.latestIndex() > m.commit {
		return
	}
	var heir *progress
	for _, p := range l.peers {
		if m.configs.latest().IsVoter(p.id) && p.declined == 0 && p.match >= m.configs.latestIndex() && (heir == nil || p.match > heir.match) {
			heir = p
		}
	}
	if heir != nil {
		m.send(heir.id, TimeoutNow{m.term})
	}
	m.become(m.term, None)
}
