package raft

import (
	"canopy/raft/follower"
	"canopy/raft/membership"
)

// ProposeConfChange appends a change to the leader's log, and puts it in force. There may be one at a time, and only after an
// entry of the leader's own term is committed. Otherwise two leaders could make changes whose quorums have no member in common
// (Ongaro, raft-dev, July 2015).
func (m *Machine) ProposeConfChange(c ConfChange) (Index, Term, error) {
	if err := m.canPropose(); err != nil {
		return 0, 0, err
	}
	if !m.committedInTerm() {
		return 0, 0, ErrNotReady
	}
	if m.configs.LatestIndex() > m.commit {
		return 0, 0, ErrConfChangePending
	}
	data, err := c.Encode()
	if err != nil {
		return 0, 0, err
	}
	if _, err := m.configs.Latest().With(c); err != nil {
		return 0, 0, err
	}
	if c.Op == Promote {
		if p := m.leading.peer(c.Member); p != nil && !p.CaughtUp(m.commit) {
			return 0, 0, ErrNotCaughtUp
		}
	}
	m.appendOwn(EntryConfChange, data)
	return m.log.Last(), m.term, nil
}

// Configuration gives the configuration in force, which may not be committed yet.
func (m *Machine) Configuration() Configuration { return m.configs.Latest().Clone() }

// setConfigs puts a history of configurations in force.
func (m *Machine) setConfigs(h membership.History) {
	m.configs = h
	if m.leading != nil {
		m.leading.follow(h.Latest(), h.LatestIndex(), m.id, m.log.Last(), m.config.ElectionTicks+1)
	}
}

// mayCampaign tells whether the member may stand for election. A member whose removal is not known to be committed may, since the
// others may need its log to commit that entry (4.2.2). A retired one may not.
func (m *Machine) mayCampaign() bool {
	if m.retired {
		return false
	}
	if m.configs.Latest().IsVoter(m.id) {
		return true
	}
	return m.configs.LatestIndex() > m.commit && m.configs.At(m.commit).IsVoter(m.id)
}

// alone tells whether the member is the only voter, and needs no other vote.
func (m *Machine) alone() bool {
	voters := m.configs.Latest().Voters
	return len(voters) == 1 && voters[0] == m.id
}

// leaveIfRemoved makes a leader step down whose own removal is committed (4.2.2). It tells the voter with the longest log to stand
// for election at once, so that the cluster does not wait for a time-out.
func (m *Machine) leaveIfRemoved() {
	l := m.leading
	if m.configs.Latest().IsVoter(m.id) || m.configs.LatestIndex() > m.commit {
		return
	}
	var transferee *follower.Progress
	for _, p := range l.peers {
		if m.configs.Latest().IsVoter(p.ID) && p.Declined == 0 && p.Match >= m.configs.LatestIndex() && (transferee == nil || p.Match > transferee.Match) {
			transferee = p
		}
	}
	if transferee != nil {
		m.send(transferee.ID, TimeoutNow{m.term})
	}
	m.become(m.term, None)
}
