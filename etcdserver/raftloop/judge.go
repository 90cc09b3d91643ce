package raftloop

import (
	"errors"
	"fmt"
	"slices"

	"canopy/etcdserver/outcome"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// judge says why a change is refused, by the list that it would change.
func (l *Loop) judge(c *waitingChange, state *replica.Head) error {
	id, op := replica.ID(c.Member.Id), raft.ConfChangeOp(c.Op)
	_, there := state.Members.Members[id]
	_, gone := state.Members.Removed[id]
	switch {
	case gone:
		return outcome.ErrMemberRemoved
	case op != raft.AddLearner && !there:
		return outcome.ErrNoSuchMember
	}
	if owner, taken := state.Members.OwnerOf(c.Member.PeerUrls, id); taken && op != raft.Remove {
		l.events.PeerURLTaken(owner, c.Member.PeerUrls)
		return outcome.ErrPeerURLExists
	}
	switch isVoter := state.Config.IsVoter(id.Raft()); {
	case op == raft.Promote && isVoter:
		return &outcome.ReconfigurationError{Reason: fmt.Sprintf("member %v is a voter already", id)}
	case op == raft.Promote:
		return l.judgePromotion(id)
	case op != raft.Remove || !isVoter:
		return nil
	case len(state.Config.Voters) == 1:
		return outcome.ErrLastMember
	}
	return l.judgeRemoval(id)
}

// errTooEarly: the change is judged later, since a new leader does not know yet who is alive.
var errTooEarly = errors.New("etcdserver: the leader has not heard from all members yet")

// judgeRemoval refuses to remove a living voter if those that are left would
// be no living quorum; a dead one may always go (M34).
func (l *Loop) judgeRemoval(id replica.ID) error {
	status := l.machine.Status()
	alive := aliveVoters(status)
	dead := !slices.Contains(alive, id.Raft())
	left, needed := len(alive)-1, (len(status.Configuration.Voters)-1)/2+1
	switch {
	case !dead && left >= needed:
		return nil
	case l.changes.tenure <= int(l.policy.Election/l.interval):
		return errTooEarly
	case dead:
		return nil
	}
	err := &outcome.ReconfigurationError{Reason: fmt.Sprintf(
		"re-configuration failed due to not enough started members: without %v %d of %d voters would be alive, and %d are needed",
		id, left, len(status.Configuration.Voters)-1, needed)}
	if !l.policy.Strict {
		l.events.RiskyChange(err)
		return nil
	}
	return err
}

// judgePromotion refuses a voter that would endanger the quorum. Whether it has
// caught up is for raft to say.
func (l *Loop) judgePromotion(id replica.ID) error {
	status := l.machine.Status()
	i := slices.IndexFunc(status.Progress, func(p raft.Progress) bool { return replica.ID(p.ID) == id })
	switch {
	case i >= 0 && promotable(status, status.Progress[i]):
		return nil
	case l.changes.tenure <= int(l.policy.Election/l.interval):
		return errTooEarly
	}
	return &outcome.ReconfigurationError{Reason: fmt.Sprintf(
		"member %v is not made a voter: the leader does not hear it, or too few of the other voters", id)}
}

// promotable tells whether a learner is heard, and the voters would have a living
// quorum with it.
func promotable(status raft.Status, p raft.Progress) bool {
	voters := len(status.Configuration.Voters)
	return p.Learner && p.Active && len(aliveVoters(status))+1 >= (voters+1)/2+1
}

// aliveVoters are those that the leader has heard lately, itself included.
func aliveVoters(s raft.Status) []raft.MemberID {
	alive := []raft.MemberID{s.ID}
	for _, p := range s.Progress {
		if p.Active && s.Configuration.IsVoter(p.ID) {
			alive = append(alive, p.ID)
		}
	}
	return alive
}
