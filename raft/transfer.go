package raft

// transfer is leadership being handed over (3.10). While it lasts, nothing is proposed, so that the heir can catch up.
type transfer struct {
	to    MemberID // None: no transfer
	ticks int
	told  bool // TimeoutNow was sent
}

// TransferLeadership hands the office to another voter, once that has the whole log. It is given up after an election time-out.
func (m *Machine) TransferLeadership(to MemberID) error {
	switch {
	case m.leading == nil:
		return ErrNotLeader{m.leader}
	case to == m.id || !m.configs.latest().IsVoter(to):
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

// finishTransfer tells the heir to begin, if this is the heir and it has all.
func (m *Machine) finishTransfer(p *progress) {
	t := &m.leading.transfer
	if p.id != t.to || t.told || p.match < m.log.last() {
		return
	}
	t.told = true
	m.send(p.id, TimeoutNow{m.term})
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

// onTimeoutNow stands for election without waiting, and without asking first: the leader itself wants it. A member that may
// not stand declines with a VoteReply that grants nothing: leaders that do not know this answer ignore it.
func (m *Machine) onTimeoutNow(from MemberID) {
	if m.mayCampaign() {
		m.campaign(true)
		return
	}
	m.send(from, VoteReply{m.term, false})
}

// onDecline ends a transfer whose heir declines. For an election time-out the leader counts it as no heir.
func (m *Machine) onDecline(from MemberID) {
	if t := &m.leading.transfer; t.told && t.to == from {
		*t = transfer{}
		m.leading.peer(from).declined = m.config.ElectionTicks
	}
}

// Retire makes the member take no office from here on: it does not stand for election, and declines a hand-over. It goes on
// to vote and to follow. One that leads goes on until it hands over; one that is being elected may still win. A lone voter
// still leads, since nobody else can.
func (m *Machine) Retire() {
	m.retired = true
	if m.ballot != nil && m.ballot.pre && !m.alone() {
		m.become(m.term, None)
	}
}
