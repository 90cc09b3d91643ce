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

// Consensus is at most one tick old; Applied is of now.
func (s *status) Consensus() Consensus {
	now := s.Status()
	c := Consensus{
		Role: roleOf(now.Role), Leader: ID(now.Leader), Vote: ID(now.Vote), Term: uint64(now.Term),
		Committed: uint64(now.Commit), Applied: uint64(now.Applied), LogBytes: now.LogBytes,
		Learner: now.Configuration.IsLearner(s.self.Raft()),
	}
	if now.Role == raft.Leader {
		c.Progress = append(c.Progress, Progress{s.self, uint64(now.Last), uint64(now.Last) + 1, ProgressReplicating})
	}
	for _, p := range now.Progress {
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
