package raft

import (
	"slices"

	"canopy/raft/assert"
	"canopy/raft/follower"
	"canopy/raft/membership"
	"canopy/raft/quorum"
)

// probeBytesMax bounds the entries in a probe. It is enough for the entry that opens a term, so that an election costs no extra
// round trip, and so little that a probe which is rejected costs nothing.
const probeBytesMax = 4 << 10

// leading is what a member has only while it is leader.
type leading struct {
	opened      Index                // the first entry of its term
	peers       []*follower.Progress // all other members, sorted by id, and removed ones, until they have learnt that
	uncommitted int64                // bytes in the log behind the commit index
	sinceBeat   int                  // ticks
	sinceCheck  int                  // ticks
	transfer    transfer
	reads       readRounds
}

// peer gives a member's progress, or nil.
func (l *leading) peer(id MemberID) *follower.Progress {
	for _, p := range l.peers {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// follow makes peers those of a configuration. It keeps those that were removed for a while, so that they learn it.
func (l *leading) follow(c Configuration, at Index, self MemberID, last Index, silent int) {
	for _, p := range l.peers {
		if p.Leaves == 0 && !c.Contains(p.ID) {
			p.Leaves, p.Since = at, 0
		}
	}
	l.peers = slices.DeleteFunc(l.peers, func(p *follower.Progress) bool { return p.Leaves > 0 && c.Contains(p.ID) })
	for _, ids := range [][]MemberID{c.Voters, c.Learners} {
		for _, id := range ids {
			if id != self && l.peer(id) == nil {
				l.peers = append(l.peers, follower.New(id, last, silent))
			}
		}
	}
	slices.SortFunc(l.peers, func(a, b *follower.Progress) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	if !c.IsVoter(l.transfer.to) {
		l.transfer = transfer{}
	}
}

// Propose appends entries to the leader's log, in order, and gives the position of the first. The machine keeps data, which must
// not be changed any more. Another leader may still replace proposed entries: the term of what Apply has at their index tells.
func (m *Machine) Propose(data ...[]byte) (first Index, term Term, err error) {
	if err := m.canPropose(); err != nil {
		return 0, 0, err
	}
	if m.log.Last() > indexMax-Index(len(data)) {
		return 0, 0, ErrLogFull
	}
	first = m.log.Last() + 1
	for _, d := range data {
		m.appendOwn(EntryNormal, d)
	}
	return first, m.term, nil
}

func (m *Machine) canPropose() error {
	switch {
	case m.leading == nil:
		return ErrNotLeader{m.leader}
	case m.leading.transfer.to != None:
		return ErrTransferring
	case m.leading.uncommitted >= m.config.MaxUncommittedBytes:
		return ErrTooMuchUncommitted
	case m.lag >= m.config.MaxUnappliedBytes:
		return ErrTooMuchUnapplied
	case m.log.Last() >= indexMax:
		return ErrLogFull
	}
	return nil
}

// appendOwn appends an entry of the leader's term. It is sent and written with the next Work.
func (m *Machine) appendOwn(t EntryType, data []byte) {
	e := Entry{Index: m.log.Last() + 1, Term: m.term, Type: t, Data: data}
	m.log.Append(e)
	m.leading.uncommitted += e.Size()
	if t == EntryConfChange {
		h, err := m.configs.Extend([]Entry{e})
		assert.That(err == nil, "a proposed configuration change is possible", e.Index)
		m.setConfigs(h)
	}
}

// replicate sends what members lack, as far as their windows allow.
func (m *Machine) replicate() {
	l := m.leading
	for _, p := range l.peers {
		for m.sendNext(p) {
		}
		if commit := min(m.commit, p.Match); commit > p.Told {
			p.Told = commit
			m.send(p.ID, Commit{m.term, commit})
		}
	}
	l.peers = slices.DeleteFunc(l.peers, func(p *follower.Progress) bool {
		return p.Leaves > 0 && (min(p.Match, p.Told) >= p.Leaves || p.Since > 2*m.config.ElectionTicks)
	})
}

// sendNext sends one message to a member if its mode allows it, and tells whether another one may follow.
func (m *Machine) sendNext(p *follower.Progress) bool {
	switch mode := p.Mode.(type) {
	case *follower.Probing:
		if mode.Sent {
			return false // one probe at a time: its answer, or the next heartbeat's, decides
		}
		if mode.From <= m.log.Base() {
			m.sendSnapshot(p)
			return false
		}
		entries, bytes := m.log.Page(mode.From-1, probeBytesMax)
		if bytes > probeBytesMax {
			entries = nil
		}
		mode.Sent = true
		p.Quiet = 0
		m.sendAppend(p, mode.From-1, entries)
	case *follower.Replicating:
		if mode.From > m.log.Last() || mode.Window.Full(m.config.MaxInflightMessages, m.config.MaxInflightBytes) {
			return false
		}
		if mode.From <= m.log.Base() {
			m.sendSnapshot(p)
			return false
		}
		entries, bytes := m.log.Page(mode.From-1, m.config.MaxMessageBytes)
		m.sendAppend(p, mode.From-1, entries)
		if mode.Window.Count == 0 {
			p.Quiet = 0
		}
		mode.Window.Add(follower.Flight{Last: mode.From - 1 + Index(len(entries)), Bytes: bytes}, m.config.MaxInflightMessages)
		mode.From += Index(len(entries))
		return true
	}
	return false
}

func (m *Machine) sendAppend(p *follower.Progress, prev Index, entries []Entry) {
	m.send(p.ID, Append{
		Term: m.term, PrevIndex: prev, PrevTerm: m.log.Term(prev), Entries: entries, Commit: m.commit,
	})
	p.Told = max(p.Told, min(m.commit, prev+Index(len(entries))))
}

// broadcastHeartbeat tells all members that the leader is alive.
func (m *Machine) broadcastHeartbeat() {
	l := m.leading
	l.sinceBeat = 0
	for _, p := range l.peers {
		m.send(p.ID, Heartbeat{m.term, min(m.commit, p.Match), l.reads.round})
	}
}

// admitAppend refuses an append that contradicts what is committed here, or what this term's leader sent before.
func (m *Machine) admitAppend(msg Append) error {
	conflict := m.firstConflict(msg)
	if conflict == 0 {
		return nil
	}
	agreed := m.commit
	if msg.Term == m.term {
		agreed = max(agreed, m.following.received)
	}
	if conflict <= agreed {
		return ErrConflict
	}
	if _, err := m.configsWith(msg, conflict); err != nil {
		return ErrBadConfChange
	}
	return nil
}

// firstConflict gives the first index at which an append has an entry that is not in the log; 0: there is none, or the append does
// not connect to the log.
func (m *Machine) firstConflict(msg Append) Index {
	if !m.log.Agrees(msg.PrevIndex, msg.PrevTerm) {
		if msg.PrevIndex <= m.commit {
			return msg.PrevIndex // committed entries cannot differ: admitAppend refuses this
		}
		return 0
	}
	for i := range msg.Entries {
		if e := &msg.Entries[i]; !m.log.Agrees(e.Index, e.Term) {
			return e.Index
		}
	}
	return 0
}

// configsWith gives the configurations with the entries of an append, from an index on, in place of those there.
func (m *Machine) configsWith(msg Append, from Index) (membership.History, error) {
	h := m.configs.Truncated(from - 1)
	return h.Extend(msg.Entries[from-1-msg.PrevIndex:])
}

// onAppend takes a leader's entries (3.5), which admitAppend has accepted.
func (m *Machine) onAppend(from MemberID, msg Append) {
	if len(msg.Entries) > 0 && m.lag >= m.config.MaxUnappliedBytes {
		return // treated as lost: the leader sends it again
	}
	if !m.log.Agrees(msg.PrevIndex, msg.PrevTerm) {
		hint, hintTerm := m.log.LastNotAfter(msg.PrevIndex-1, msg.PrevTerm)
		m.send(from, AppendReject{m.term, msg.PrevIndex, hint, hintTerm})
		return
	}
	if conflict := m.firstConflict(msg); conflict > 0 {
		configs, err := m.configsWith(msg, conflict)
		assert.That(err == nil, "an admitted configuration change is possible", conflict)
		if conflict <= m.log.Last() {
			m.disk.forget(conflict - 1)
			m.log.Truncate(conflict - 1)
		}
		for _, e := range msg.Entries[conflict-1-msg.PrevIndex:] {
			m.log.Append(e)
		}
		m.setConfigs(configs)
	}
	match := msg.PrevIndex + Index(len(msg.Entries))
	m.following.received = max(m.following.received, match)
	m.commitTo(min(msg.Commit, match))
	m.sendDurable(from, AppendReply{m.term, max(match, m.commit)})
}

// onHeartbeat learns the commit index.
func (m *Machine) onHeartbeat(from MemberID, msg Heartbeat) {
	m.commitTo(msg.Commit)
	m.send(from, HeartbeatReply{m.term, msg.Round, m.following.acknowledged, m.following.received})
}

// onCommit learns the commit index.
func (m *Machine) onCommit(msg Commit) { m.commitTo(msg.Index) }

// onAppendReply counts a member's acknowledgement.
func (m *Machine) onAppendReply(from MemberID, msg AppendReply) {
	p := m.leading.peer(from)
	p.Silent = 0
	p.Acknowledge(msg.Match, m.log.Base())
	m.advanceCommit()
	m.finishTransfer(p)
}

// onAppendReject steps back to where the logs may agree. A whole term that the follower lacks, or has too much, is passed in
// one step (end of 5.3 of the Raft paper).
func (m *Machine) onAppendReject(from MemberID, msg AppendReject) {
	p := m.leading.peer(from)
	p.Silent = 0
	if msg.PrevIndex <= p.Match {
		return // answers a message from before the last acknowledgement
	}
	switch mode := p.Mode.(type) {
	case *follower.Replicating:
		p.Probe(p.Match + 1)
	case *follower.Probing:
		if msg.PrevIndex != mode.From-1 {
			return // answers an earlier probe
		}
		from := msg.HintIndex + 1
		if msg.HintIndex > m.log.Base() {
			agree, _ := m.log.LastNotAfter(msg.HintIndex, msg.HintTerm)
			from = agree + 1
		}
		p.Probe(min(from, msg.PrevIndex))
	}
}

// onHeartbeatReply records that a member is alive, and sends again what must be lost.
func (m *Machine) onHeartbeatReply(from MemberID, msg HeartbeatReply) {
	p := m.leading.peer(from)
	p.Silent = 0
	p.Round = max(p.Round, msg.Round)
	if msg.Match > p.Match {
		m.onAppendReply(from, AppendReply{msg.Term, msg.Match})
	}
	switch mode := p.Mode.(type) {
	case *follower.Probing:
		if p.Quiet >= m.config.HeartbeatTicks {
			mode.Sent = false // nothing came for a heartbeat: the probe, or its answer, is lost
		}
	case *follower.Replicating:
		if msg.Received > mode.Received || msg.Received >= mode.From-1 {
			mode.Received = max(mode.Received, msg.Received)
			p.Quiet = 0
		} else if p.Quiet >= m.config.lostTicks() && mode.Window.Count > 0 {
			p.Probe(p.Match + 1) // nothing was received for long: what was sent is lost
		}
	}
}

// advanceCommit moves the leader's commit index to what a quorum has on disk. It counts only for an entry of its own term, which
// commits all before it (3.6.2, figure 3.7).
func (m *Machine) advanceCommit() {
	if m.leading == nil {
		return
	}
	var few [9]Index
	acks := few[:0]
	for _, id := range m.configs.Latest().Voters {
		acks = append(acks, m.durableAt(id))
	}
	if reached := quorum.Reached(acks); reached > m.commit && m.log.Term(reached) == m.term {
		m.commitTo(reached)
	}
}

func (m *Machine) durableAt(id MemberID) Index {
	if id == m.id {
		return m.log.Durable
	}
	return m.leading.peer(id).Match
}

// commitTo moves the commit index forward.
func (m *Machine) commitTo(i Index) {
	if i <= m.commit {
		return
	}
	assert.That(i <= m.log.Last(), "what is committed is in the log", i, m.log.Last())
	bytes := m.log.Size(m.commit, i)
	if m.lag += bytes; m.leading != nil {
		m.leading.uncommitted -= bytes
	}
	m.commit = i
}

// committedInTerm tells whether the leader has committed an entry of its own term. Then it knows all that is committed.
func (m *Machine) committedInTerm() bool { return m.commit >= m.leading.opened }
