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

// onTimeoutNow stands for election without waiting, and without asking first: the leader itself wants it.
func (m *Machine) onTimeoutNow() {
	if m.mayCampaign() {
		m.campaign(true)
	}
}
