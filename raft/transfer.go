package raft

import (
	"canopy/raft/follower"
)

// transfer is a transfer of leadership (3.10). While it lasts, the leader takes no proposals, so that the transferee can catch up.
type transfer struct {
	to    MemberID // None: no transfer
	ticks int
	told  bool // TimeoutNow was sent
}

// TransferLeadership makes another voter leader, once that has the whole log. The transfer ends without effect after an election
// time-out.
func (m *Machine) TransferLeadership(to MemberID) error {
	switch {
	case m.leading == nil:
		return ErrNotLeader{m.leader}
	case to == m.id || !m.configs.Latest().IsVoter(to):
		return ErrNotVoter
	case m.leading.transfer.to == to:
		return nil
	case m.leading.transfer.to != None:
		return ErrTransferring
	}
	m.leading.transfer = transfer{to: to}
	m.finishTransfer(m.leading.peer(to))
	return nil
}

// finishTransfer tells a member to stand for election, if it is the transferee and has the whole log.
func (m *Machine) finishTransfer(p *follower.Progress) {
	t := &m.leading.transfer
	if p.ID != t.to || t.told || p.Match < m.log.Last() {
		return
	}
	t.told = true
	m.send(p.ID, TimeoutNow{m.term})
}

func (m *Machine) tickTransfer() {
	t := &m.leading.transfer
	if t.to == None {
		return
	}
	if t.ticks++; t.ticks >= m.config.ElectionTicks {
		*t = transfer{}
	}
}

// onTimeoutNow stands for election without a time-out and without a pre-vote: the leader wants it. A member that may not stand
// declines with a VoteReply that grants nothing; leaders that do not know this answer ignore it.
func (m *Machine) onTimeoutNow(from MemberID) {
	if m.mayCampaign() {
		m.campaign(true)
		return
	}
	m.send(from, VoteReply{m.term, false})
}

// onDecline ends a transfer whose transferee declines. For an election time-out the leader does not choose it again.
func (m *Machine) onDecline(from MemberID) {
	if t := &m.leading.transfer; t.told && t.to == from {
		*t = transfer{}
		m.leading.peer(from).Declined = m.config.ElectionTicks
	}
}

// Retire keeps the member from becoming leader: it does not stand for election, and declines a transfer. It still votes and
// follows. A leader leads until it transfers, a candidate may still win, and the only voter still leads, since no other member
// can.
func (m *Machine) Retire() {
	m.retired = true
	if m.ballot != nil && m.ballot.pre && !m.alone() {
		m.become(m.term, None)
	}
}
