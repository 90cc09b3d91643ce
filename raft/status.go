package raft

import (
	"canopy/raft/follower"
)

// Status is the state of a machine for people and tests.
type Status struct {
	ID            MemberID
	Role          Role
	Leader        MemberID // None if unknown
	Term          Term
	Vote          MemberID
	First         Index // of the log in memory; First-1 if it is empty is Last
	Last          Index
	LastTerm      Term
	Durable       Index // on this member's disk
	Commit        Index
	Applied       Index
	Snapshot      Index // the newest snapshot that can be sent
	LogBytes      int64 // memory that the log takes
	Uncommitted   int64 // bytes that wait for a quorum; leader only
	TransferTo    MemberID
	Configuration Configuration
	Progress      []Progress // of the other members, by id; leader only
}

// Mode names how a leader sends entries to a member.
type Mode = follower.Name

// The modes.
const (
	Probing         = follower.NameProbing
	Replicating     = follower.NameReplicating
	SendingSnapshot = follower.NameSendingSnapshot
)

// Progress is what a leader knows of another member.
type Progress struct {
	ID               MemberID
	Learner          bool
	Active           bool  // heard within an election time-out
	Declined         bool  // it has declined a transfer within an election time-out
	Match            Index // durable there
	Next             Index // the first entry that was not sent
	Mode             Mode
	InflightMessages int
	InflightBytes    int64
}

// Status gives a copy of the machine's state.
func (m *Machine) Status() Status {
	s := Status{
		ID: m.id, Role: m.role(), Leader: m.leader, Term: m.term, Vote: m.vote,
		First: m.log.Base() + 1, Last: m.log.Last(), LastTerm: m.log.LastTerm(), Durable: m.log.Durable,
		Commit: m.commit, Applied: m.applied, Snapshot: m.snapshot.Index, LogBytes: m.log.Bytes(),
		Configuration: m.Configuration(),
	}
	if m.leading == nil {
		return s
	}
	s.Uncommitted, s.TransferTo = m.leading.uncommitted, m.leading.transfer.to
	for _, p := range m.leading.peers {
		progress := Progress{
			ID: p.ID, Learner: s.Configuration.IsLearner(p.ID), Active: m.active(p), Declined: p.Declined > 0,
			Match: p.Match, Next: p.Mode.Next(), Mode: p.Mode.Name(),
		}
		if r, ok := p.Mode.(*follower.Replicating); ok {
			progress.InflightMessages, progress.InflightBytes = r.Window.Count, r.Window.Bytes
		}
		s.Progress = append(s.Progress, progress)
	}
	return s
}
