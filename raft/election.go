package raft

import (
	"canopy/raft/assert"
	"canopy/raft/follower"
	"canopy/raft/quorum"
)

// ballot is what a member has only while it stands for election.
type ballot struct {
	pre     bool // asks only whether it could win
	yes, no []MemberID
}

// Campaign begins an election now, without waiting for the time-out. A member that may not stand does nothing.
func (m *Machine) Campaign() {
	if m.leading == nil && m.mayCampaign() {
		m.beginElection()
	}
}

// beginElection asks for a pre-vote first, unless that is switched off. Pre-votes keep a member that cannot win from
// disturbing the others with ever higher terms (9.6).
func (m *Machine) beginElection() {
	if m.config.NoPreVote {
		m.campaign(false)
		return
	}
	if m.term >= termMax {
		return
	}
	m.become(m.term, None)
	m.ballot = &ballot{pre: true}
	m.askAll(PreVote{m.term + 1, m.log.Last(), m.log.LastTerm()})
	m.countVote(m.id, m.term+1, true)
}

// campaign stands for election in a new term (3.4). It asks others, and counts its own vote, only after that vote and the log it
// names are on disk: a member that forgot them could vote again, or win with a shorter log.
func (m *Machine) campaign(transfer bool) {
	if m.term >= termMax {
		return
	}
	m.become(m.term+1, None)
	m.vote = m.id
	m.ballot = &ballot{}
	ask := Vote{m.term, m.log.Last(), m.log.LastTerm(), transfer}
	for _, id := range m.configs.Latest().Voters {
		if id != m.id {
			m.sendDurable(id, ask)
		}
	}
	m.sendDurable(m.id, VoteReply{m.term, true})
}

// ownVotePending tells whether a candidate's own vote is not on disk yet.
func (m *Machine) ownVotePending() bool {
	return m.ballot != nil && !m.ballot.pre && countIn(m.ballot.yes, []MemberID{m.id}) == 0
}

func (m *Machine) askAll(msg Message) {
	for _, id := range m.configs.Latest().Voters {
		if id != m.id {
			m.send(id, msg)
		}
	}
}

// countVote counts a voter's answer to the ballot of a term. Answers to other ballots are late.
func (m *Machine) countVote(from MemberID, term Term, granted bool) {
	b := m.ballot
	if b == nil || term != m.ballotTerm() {
		return
	}
	if granted {
		b.yes = insertOnce(b.yes, from)
	} else {
		b.no = insertOnce(b.no, from)
	}
	voters := m.configs.Latest().Voters
	switch quorum.Count(countIn(voters, b.yes), countIn(voters, b.no), len(voters)) {
	case quorum.Won:
		if b.pre {
			m.campaign(false)
		} else {
			m.becomeLeader()
		}
	case quorum.Lost:
		m.become(m.term, None)
	case quorum.Pending:
	}
}

// ballotTerm is the term that is being voted for.
func (m *Machine) ballotTerm() Term {
	if m.ballot.pre {
		return m.term + 1
	}
	return m.term
}

func insertOnce(ids []MemberID, id MemberID) []MemberID {
	for _, other := range ids {
		if other == id {
			return ids
		}
	}
	return append(ids, id)
}

func countIn(voters, ids []MemberID) int {
	n := 0
	for _, id := range ids {
		for _, v := range voters {
			if v == id {
				n++
			}
		}
	}
	return n
}

// upToDate tells whether a log that ends here has all entries that may be committed, as far as this member knows (3.6.1).
func (m *Machine) upToDate(last Index, lastTerm Term) bool {
	own := m.log.LastTerm()
	return lastTerm > own || lastTerm == own && last >= m.log.Last()
}

// hearsLeader tells whether a leader was heard within the shortest election time-out. Until then this member votes for no other: a
// member that returns, or that was removed and does not know it, cannot depose a leader that works (4.2.3).
func (m *Machine) hearsLeader() bool {
	if m.config.NoCheckQuorum {
		return false
	}
	return m.leading != nil || m.leader != None && m.elapsed < m.config.ElectionTicks
}

// onPreVote answers whether the sender could get this member's vote. It promises nothing.
func (m *Machine) onPreVote(from MemberID, msg PreVote) {
	if msg.Term > m.term && !m.hearsLeader() && m.upToDate(msg.LastIndex, msg.LastTerm) {
		m.send(from, PreVoteReply{msg.Term, true})
		return
	}
	m.send(from, PreVoteReply{m.term, false})
}

// onPreVoteReply counts an answer. A refusal with a higher term ends this member's term. An answer that comes after the election has
// begun names the same term, and is no vote.
func (m *Machine) onPreVoteReply(from MemberID, msg PreVoteReply) {
	switch {
	case !msg.Granted && msg.Term > m.term:
		m.become(msg.Term, None)
	case m.ballot == nil || !m.ballot.pre:
	case msg.Granted:
		m.countVote(from, msg.Term, true)
	default:
		m.countVote(from, m.ballotTerm(), false)
	}
}

// onVote votes at most once a term, for a log that is not behind its own. The vote is sent when it is on disk.
func (m *Machine) onVote(from MemberID, msg Vote) {
	free := m.vote == from || m.vote == None && m.leader == None
	if !free || !m.upToDate(msg.LastIndex, msg.LastTerm) {
		m.send(from, VoteReply{m.term, false})
		return
	}
	m.vote = from
	m.elapsed = 0
	m.sendDurable(from, VoteReply{m.term, true})
}

// onVoteReply counts an answer. To a leader it says that the transferee declines.
func (m *Machine) onVoteReply(from MemberID, msg VoteReply) {
	if m.leading != nil && !msg.Granted {
		m.onDecline(from)
	}
	if m.ballot != nil && !m.ballot.pre {
		m.countVote(from, msg.Term, msg.Granted)
	}
}

// become makes the member a follower in a term, whose leader may be unknown. Its former role ends.
func (m *Machine) become(term Term, leader MemberID) {
	assert.That(term >= m.term, "terms never fall", term, m.term)
	if leader != m.leader || term != m.term {
		m.loseReads()
	}
	if term > m.term {
		m.term, m.vote = term, None
		m.following = following{}
	}
	if m.leading != nil || m.ballot != nil || leader != None {
		m.elapsed = 0
	}
	m.leading, m.ballot, m.leader = nil, nil, leader
	m.drawTimeout()
}

// drawTimeout draws how long to wait for a leader, so that members rarely stand at the same time (3.4).
func (m *Machine) drawTimeout() {
	m.timeout = m.config.ElectionTicks + m.config.Random(m.config.ElectionTicks)
}

// becomeLeader makes the member leader, and opens the term with an empty entry: committing that commits all before it (6.4).
func (m *Machine) becomeLeader() {
	assert.That(m.vote == m.id, "a leader has its own vote", m.vote, m.id)
	m.ballot = nil
	m.leader = m.id
	m.leading = &leading{opened: m.log.Last() + 1}
	for _, e := range m.log.Slice(m.commit, m.log.Last()) {
		m.leading.uncommitted += e.Size()
	}
	m.leading.follow(m.configs.Latest(), m.configs.LatestIndex(), m.id, m.log.Last()+1, m.config.ElectionTicks+1)
	m.appendOwn(EntryNormal, nil)
}

// tickLeader sends heartbeats, and steps down when no quorum has answered for an election time-out (6.2).
func (m *Machine) tickLeader() {
	l := m.leading
	l.sinceBeat++
	l.sinceCheck++
	for _, p := range l.peers {
		p.Quiet++
		p.Silent++
		p.Since++
		p.Declined = max(p.Declined-1, 0)
	}
	m.tickTransfer()
	if l.sinceCheck >= m.config.ElectionTicks {
		l.sinceCheck = 0
		if !m.quorumActive() && !m.config.NoCheckQuorum {
			m.become(m.term, None)
			return
		}
	}
	if l.sinceBeat >= m.config.HeartbeatTicks {
		m.broadcastHeartbeat()
	}
}

// active tells whether a member was heard within an election time-out.
func (m *Machine) active(p *follower.Progress) bool { return p.Silent <= m.config.ElectionTicks }

// quorumActive tells whether a quorum was heard within an election time-out.
func (m *Machine) quorumActive() bool {
	yes := 0
	voters := m.configs.Latest().Voters
	for _, id := range voters {
		if id == m.id || m.active(m.leading.peer(id)) {
			yes++
		}
	}
	return quorum.Count(yes, len(voters)-yes, len(voters)) == quorum.Won
}
