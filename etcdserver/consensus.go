package etcdserver

import "canopy/raft"

// Consensus is what the API shows of the raft machine.
type Consensus struct {
	Role      Role
	Leader    ID // 0: unknown
	Vote      ID // 0: none in this term
	Term      uint64
	Committed uint64     // 0 <= Applied <= Committed, as indexes of the log
	Applied   uint64     // on this member
	LogBytes  int64      // memory that the log takes
	Learner   bool       // this member follows without a vote
	Progress  []Progress // of all members, on a leader; itself comes first
}

// Role is what a member is in its term.
type Role uint8

// The roles.
const (
	RoleFollower Role = iota // also that of a learner
	RoleCandidate
	RoleLeader
)

// Progress is how far a member has the log, as the leader sees it. Match < Next.
type Progress struct {
	ID          ID
	Match, Next uint64
	Mode        ProgressMode
}

// ProgressMode is how the leader sends to a member.
type ProgressMode uint8

// The modes.
const (
	ProgressProbing ProgressMode = iota
	ProgressReplicating
	ProgressSendingSnapshot
)

// Consensus is at most one tick old, but for what is applied.
func (m *Member) Consensus() Consensus {
	s := m.Status()
	c := Consensus{
		Role: roleOf(s.Role), Leader: ID(s.Leader), Vote: ID(s.Vote), Term: uint64(s.Term),
		Committed: uint64(s.Commit), Applied: uint64(s.Applied), LogBytes: s.LogBytes,
		Learner: s.Configuration.IsLearner(m.self.Raft()),
	}
	if s.Role == raft.Leader {
		c.Progress = append(c.Progress, Progress{m.self, uint64(s.Last), uint64(s.Last) + 1, ProgressReplicating})
	}
	for _, p := range s.Progress {
		c.Progress = append(c.Progress, Progress{ID(p.ID), uint64(p.Match), uint64(p.Next), progressModeOf(p.Mode)})
	}
	return c
}

func roleOf(r raft.Role) Role {
	switch r {
	case raft.Leader:
		return RoleLeader
	case raft.PreCandidate, raft.Candidate:
		return RoleCandidate
	}
	return RoleFollower
}

func progressModeOf(m raft.Mode) ProgressMode {
	switch m {
	case raft.Replicating:
		return ProgressReplicating
	case raft.SendingSnapshot:
		return ProgressSendingSnapshot
	}
	return ProgressProbing
}
