package raft

import (
	"canopy/raft/membership"
	"canopy/raft/raftlog"
)

// Machine is one member's part in the protocol.
type Machine struct {
	id     MemberID
	config Config

	term    Term
	vote    MemberID // in term; None if it has not voted
	commit  Index
	configs membership.History

	// 0 <= applied <= applying <= commit <= log.Last(), log.Base() <= commit
	log      raftlog.Log
	disk     durability
	snapshot SnapshotMeta  // the newest one that can be sent
	install  *SnapshotMeta // durable, to be handed to the state machine
	applying Index         // handed to the state machine
	applied  Index         // included in the state machine
	lag      int64         // bytes of entries that are committed, and not included yet

	leader  MemberID // of term, as far as is known
	elapsed int      // ticks since the leader was heard, or the vote given
	timeout int      // ticks after which an election begins

	leading    *leading  // only a leader has it
	ballot     *ballot   // only a candidate or pre-candidate has it
	following  following // of the term's leader
	forwarding forwarding
	retired    bool // does not become leader any more; not kept over a restart

	outbox    []Outbound
	reads     []Read
	lostReads []uint64
	soft      SoftState // as last handed out
}

// following is what a follower knows of its log and that of the term's leader.
type following struct {
	received     Index // agrees with the leader's log up to here
	acknowledged Index // has told the leader that it is durable up to here
}

// New makes a machine that continues from what recovery found. It keeps the entries of s. A member that is the only voter stands
// for election at once.
func New(c Config, s State) (*Machine, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	base := s.Snapshot
	base.Configuration = base.Configuration.Clone()
	m := &Machine{id: c.ID, config: c, snapshot: base, applying: max(base.Index, s.Applied)}
	m.applied = m.applying
	m.configs = membership.NewHistory(base.Index, base.Configuration)
	configs, err := m.configs.Extend(s.Entries)
	if err != nil {
		return nil, ErrState{base.Index, err.Error()}
	}
	m.configs = configs
	m.log = raftlog.New(base.Index, base.Term)
	for _, e := range s.Entries {
		m.log.Append(e)
	}
	m.log.Handed, m.log.Durable = m.log.Last(), m.log.Last()
	m.term, m.vote = s.HardState.Term, s.HardState.Vote
	if last := m.log.LastTerm(); last > m.term {
		m.term, m.vote = last, None // the write of both was torn, so no member has heard of a vote
	}
	m.commit = base.Index
	m.commitTo(s.HardState.Commit)
	m.lag -= m.log.Size(base.Index, m.applied)
	m.disk.written = m.hardState()
	m.forwarding.last = uint64(c.Random(1<<30))<<32 | uint64(c.Random(1<<30))
	m.drawTimeout()
	if c.EarlyStart && !c.NoPreVote {
		m.elapsed = c.ElectionTicks - 1
	}
	if m.alone() {
		m.beginElection()
	}
	return m, nil
}

// check gives the fault of a state from disk.
func (s State) check() error {
	base := s.Snapshot
	if checkPosition(base.Index, base.Term, termMax) != nil {
		return ErrState{base.Index, "position of the snapshot"}
	}
	if !base.Configuration.IsValid() || (base.Index > 0) != (len(base.Configuration.Voters) > 0) {
		return ErrState{base.Index, "configuration of the snapshot"}
	}
	last := base.Index + Index(len(s.Entries))
	switch hard := s.HardState; {
	case checkEntries(s.Entries, base.Index, base.Term, termMax) != nil:
		return ErrState{base.Index, "entries do not follow the snapshot"}
	case hard.Term > termMax:
		return ErrState{base.Index, "term on disk is out of range"}
	case hard.Term == 0 && hard.Vote != None:
		return ErrState{0, "vote without a term"}
	case hard.Commit > last:
		return ErrState{hard.Commit, "entries that were committed are missing"}
	case s.Applied > max(hard.Commit, base.Index):
		return ErrState{s.Applied, "entries were applied that are not committed"}
	}
	return nil
}

// role tells what the member is doing.
func (m *Machine) role() Role {
	switch {
	case m.leading != nil:
		return Leader
	case m.ballot == nil:
		return Follower
	case m.ballot.pre:
		return PreCandidate
	}
	return Candidate
}

// Tick tells that a unit of time has passed. The owner chooses its length, which must be similar on all members.
func (m *Machine) Tick() {
	m.tickForwarding()
	if m.leading != nil {
		m.tickLeader()
		return
	}
	m.elapsed++
	switch {
	case m.ownVotePending():
		// The disk is slow. Another term would only make it write again.
	case m.alone():
		m.beginElection()
	case m.elapsed < m.timeout:
	case m.mayCampaign():
		m.elapsed = 0
		m.beginElection()
	case m.leader != None:
		m.become(m.term, None)
	}
}

// Step takes a message. An error is always an ErrRefused: no correct member sends this message now, and it has changed nothing.
// The transport decides who may send at all. Step takes requests of members that are not in the configuration, since this
// member's configuration may be behind theirs (4.1).
func (m *Machine) Step(from MemberID, msg Message) error {
	if err := m.admit(from, msg); err != nil {
		return ErrRefused{from, name(msg), err}
	}
	switch msg := msg.(type) {
	case PreVote:
		m.onPreVote(from, msg)
		return nil
	case PreVoteReply:
		m.onPreVoteReply(from, msg)
		return nil
	case Vote:
		if msg.Term > m.term && m.hearsLeader() && !msg.Transfer {
			return nil // ignored, with its term: a leader that works must not be deposed (4.2.3)
		}
	}
	if msg.term() < m.term {
		m.answerStale(from, msg)
		return nil
	}
	m.enterTerm(from, msg)
	m.dispatch(from, msg)
	return nil
}

// admit refuses what no correct member sends now. It changes nothing.
func (m *Machine) admit(from MemberID, msg Message) error {
	switch {
	case name(msg) == "":
		return ErrUnknownKind
	case from == None || from == m.id:
		return ErrBadSender
	case msg.term() == 0 || msg.term() > min(termMax, m.term+termLeapMax):
		return ErrBadTerm
	}
	if err := msg.check(); err != nil {
		return err
	}
	if msg.term() < m.term {
		return nil
	}
	switch msg := msg.(type) {
	case Append:
		return firstError(m.admitLeader(from, msg.Term), m.admitAppend(msg))
	case Snapshot:
		return firstError(m.admitLeader(from, msg.Term), m.admitSnapshot(msg))
	case Heartbeat:
		return firstError(m.admitLeader(from, msg.Term), m.admitCommit(msg.Commit))
	case Commit:
		return firstError(m.admitLeader(from, msg.Term), m.admitCommit(msg.Index))
	case TimeoutNow:
		return m.admitLeader(from, msg.Term)
	case AppendReply:
		return firstError(m.admitReply(from), m.admitMatch(msg.Term, msg.Match))
	case HeartbeatReply:
		if m.leading != nil && msg.Term == m.term && msg.Round > m.leading.reads.round {
			return ErrBadIndex
		}
		return firstError(m.admitReply(from), m.admitMatch(msg.Term, max(msg.Match, msg.Received)))
	case PreVoteReply, VoteReply, AppendReject, Stale:
		return m.admitReply(from)
	case ReadForward:
		if m.leading != nil && len(m.leading.reads.waiting) >= readsMax {
			return ErrTooManyReads
		}
		return m.admitReply(from)
	}
	return nil
}

// admitLeader refuses a second leader of a term.
func (m *Machine) admitLeader(from MemberID, term Term) error {
	if term == m.term && (m.leading != nil || m.leader != None && m.leader != from) {
		return ErrTwoLeaders
	}
	return nil
}

// admitCommit refuses a commit index behind the log: a leader sends it only for entries that this member acknowledged.
func (m *Machine) admitCommit(i Index) error {
	if i > m.log.Last() {
		return ErrBeyondLog
	}
	return nil
}

// admitReply refuses answers and requests of processes that are not members: a leader knows the members of its term.
func (m *Machine) admitReply(from MemberID) error {
	if m.configs.Latest().Contains(from) || m.leading != nil && m.leading.peer(from) != nil {
		return nil
	}
	return ErrUnknownMember
}

// admitMatch refuses the acknowledgement of entries that a leader never had.
func (m *Machine) admitMatch(term Term, match Index) error {
	if m.leading != nil && term == m.term && match > m.log.Last() {
		return ErrBeyondLog
	}
	return nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// answerStale tells a leader or candidate that its term is over. Without that, a member with a higher term could neither follow
// the leader nor be elected.
func (m *Machine) answerStale(from MemberID, msg Message) {
	switch msg.(type) {
	case Append, Heartbeat, Snapshot:
		m.send(from, Stale{m.term})
	case Vote:
		m.send(from, VoteReply{m.term, false})
	}
}

// enterTerm moves to the term of a message, and records its leader.
func (m *Machine) enterTerm(from MemberID, msg Message) {
	switch msg.(type) {
	case Append, Heartbeat, Commit, Snapshot, TimeoutNow:
		if msg.term() > m.term || m.leader != from || m.ballot != nil {
			m.become(msg.term(), from)
		}
		m.elapsed = 0
	default:
		if msg.term() > m.term {
			m.become(msg.term(), None)
		}
	}
}

// dispatch takes a message of the current term.
func (m *Machine) dispatch(from MemberID, msg Message) {
	switch msg := msg.(type) {
	case Vote:
		m.onVote(from, msg)
	case VoteReply:
		m.onVoteReply(from, msg)
	case Append:
		m.onAppend(from, msg)
	case Heartbeat:
		m.onHeartbeat(from, msg)
	case Commit:
		m.onCommit(msg)
	case Snapshot:
		m.onSnapshot(from, msg)
	case ReadForward:
		m.onReadForward(from, msg)
	case ReadReply:
		m.onReadReply(msg)
	case TimeoutNow:
		m.onTimeoutNow(from)
	}
	if m.leading == nil || m.leading.peer(from) == nil {
		return // only a leader takes answers, and this member does not lead
	}
	switch msg := msg.(type) {
	case AppendReply:
		m.onAppendReply(from, msg)
	case AppendReject:
		m.onAppendReject(from, msg)
	case HeartbeatReply:
		m.onHeartbeatReply(from, msg)
	}
}

// send hands out a message with the next Work.
func (m *Machine) send(to MemberID, msg Message) {
	m.outbox = append(m.outbox, Outbound{to, msg})
}
