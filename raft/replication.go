package raft

import (
	"slices"

	"canopy/raft/quorum"
)

// probeBytesMax bounds the entries in a probe: enough for the entry that opens a term, so that an election costs no
// extra round trip; little enough to be sent in vain.
const probeBytesMax = 4 << 10

// leading is what a member has only while it is leader.
type leading struct {
	opened      Index       // the first entry of its term
	peers       []*progress // all other members, sorted by id, and those which are to learn that they left
	uncommitted int64       // bytes in the log behind the commit index
	sinceBeat   int         // ticks
	sinceCheck  int         // ticks
	transfer    transfer
	reads       readRounds
}

// peer gives a member's progress, or nil.
func (l *leading) peer(id MemberID) *progress {
	for _, p := range l.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

// follow makes peers those of a configuration. Who is missing from it now is kept for a while, to be told.
func (l *leading) follow(c Configuration, at Index, self MemberID, last Index, silent int) {
	for _, p := range l.peers {
		if p.leaves == 0 && !c.Contains(p.id) {
			p.leaves, p.since = at, 0
		}
	}
	l.peers = slices.DeleteFunc(l.peers, func(p *progress) bool { return p.leaves > 0 && c.Contains(p.id) })
	for _, ids := range [][]MemberID{c.Voters, c.Learners} {
		for _, id := range ids {
			if id != self && l.peer(id) == nil {
				l.peers = append(l.peers, newProgress(id, last, silent))
			}
		}
	}
	slices.SortFunc(l.peers, func(a, b *progress) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	if !c.IsVoter(l.transfer.to) {
		l.transfer = transfer{}
	}
}

// Propose appends entries to the leader's log, in order, and gives the position of the first. The machine keeps data,
// which must not be changed any more. Proposed entries may still be replaced by those of another leader: what Apply has at
// their index tells by its term.
func (m *Machine) Propose(data ...[]byte) (first Index, term Term, err error) {
	if err := m.canPropose(); err != nil {
		return 0, 0, err
	}
	if m.log.last() > indexMax-Index(len(data)) {
		return 0, 0, ErrLogFull
	}
	first = m.log.last() + 1
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
	case m.log.last() >= indexMax:
		return ErrLogFull
	}
	return nil
}

// appendOwn appends an entry of the leader's term. It is sent and written with the next Work.
func (m *Machine) appendOwn(t EntryType, data []byte) {
	e := Entry{Index: m.log.last() + 1, Term: m.term, Type: t, Data: data}
	m.log.append(e)
	m.leading.uncommitted += e.size()
	if t == EntryConfChange {
		h, err := m.configs.extend([]Entry{e})
		assert(err == nil, "a proposed configuration change is possible", e.Index)
		m.setConfigs(h)
	}
}

// replicate sends what members lack, as far as their windows allow.
func (m *Machine) replicate() {
	l := m.leading
	for _, p := range l.peers {
		for m.sendNext(p) {
		}
		if commit := min(m.commit, p.match); commit > p.told {
			p.told = commit
			m.send(p.id, Commit{m.term, commit})
		}
	}
	l.peers = slices.DeleteFunc(l.peers, func(p *progress) bool {
		return p.leaves > 0 && (min(p.match, p.told) >= p.leaves || p.since > 2*m.config.ElectionTicks)
	})
}

// sendNext sends one message to a member if its mode allows, and says whether another may follow.
func (m *Machine) sendNext(p *progress) bool {
	switch mode := p.mode.(type) {
	case *probing:
		if mode.sent {
			return false
		}
		if mode.from <= m.log.base {
			m.sendSnapshot(p)
			return false
		}
		entries, bytes := m.log.page(mode.from-1, probeBytesMax)
		if bytes > probeBytesMax {
			entries = nil
		}
		mode.sent = true
		p.quiet = 0
		m.sendAppend(p, mode.from-1, entries)
	case *replicating:
		if mode.from > m.log.last() || mode.window.full(m.config.MaxInflightMessages, m.config.MaxInflightBytes) {
			return false
		}
		if mode.from <= m.log.base {
			m.sendSnapshot(p)
			return false
		}
		entries, bytes := m.log.page(mode.from-1, m.config.MaxMessageBytes)
		m.sendAppend(p, mode.from-1, entries)
		if mode.window.count == 0 {
			p.quiet = 0
		}
		mode.window.add(flight{mode.from - 1 + Index(len(entries)), bytes}, m.config.MaxInflightMessages)
		mode.from += Index(len(entries))
		return true
	}
	return false
}

func (m *Machine) sendAppend(p *progress, prev Index, entries []Entry) {
	m.send(p.id, Append{
		Term: m.term, PrevIndex: prev, PrevTerm: m.log.term(prev), Entries: entries, Commit: m.commit,
	})
	p.told = max(p.told, min(m.commit, prev+Index(len(entries))))
}

// broadcastHeartbeat tells all members that the leader is there.
func (m *Machine) broadcastHeartbeat() {
	l := m.leading
	l.sinceBeat = 0
	for _, p := range l.peers {
		m.send(p.id, Heartbeat{m.term, min(m.commit, p.match), l.reads.round})
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

// firstConflict gives the first index from which on entries of an append are to be taken; 0 if there is none, or if the
// append does not connect to the log.
func (m *Machine) firstConflict(msg Append) Index {
	if !m.log.agrees(msg.PrevIndex, msg.PrevTerm) {
		if msg.PrevIndex <= m.commit {
			return msg.PrevIndex // what is committed cannot differ: admitAppend refuses this
		}
		return 0
	}
	for i := range msg.Entries {
		if e := &msg.Entries[i]; !m.log.agrees(e.Index, e.Term) {
			return e.Index
		}
	}
	return 0
}

// configsWith gives the configurations with the entries of an append, from an index on, in place of those there.
func (m *Machine) configsWith(msg Append, from Index) (configHistory, error) {
	h := m.configs.truncated(from - 1)
	return h.extend(msg.Entries[from-1-msg.PrevIndex:])
}

// onAppend takes a leader's entries (3.5), which admitAppend has let through.
func (m *Machine) onAppend(from MemberID, msg Append) {
	if len(msg.Entries) > 0 && m.lag >= m.config.MaxUnappliedBytes {
		return // as if it had been lost: the leader sends it again
	}
	if !m.log.agrees(msg.PrevIndex, msg.PrevTerm) {
		hint, hintTerm := m.log.lastNotAfter(msg.PrevIndex-1, msg.PrevTerm)
		m.send(from, AppendReject{m.term, msg.PrevIndex, hint, hintTerm})
		return
	}
	if conflict := m.firstConflict(msg); conflict > 0 {
		configs, err := m.configsWith(msg, conflict)
		assert(err == nil, "an admitted configuration change is possible", conflict)
		if conflict <= m.log.last() {
			m.disk.forget(conflict - 1)
			m.log.truncate(conflict - 1)
		}
		for _, e := range msg.Entries[conflict-1-msg.PrevIndex:] {
			m.log.append(e)
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
	p.silent = 0
	p.acknowledge(msg.Match, m.log.base)
	m.advanceCommit()
	m.finishTransfer(p)
}

// onAppendReject steps back to where the logs may agree. A whole term that the follower lacks, or has too much, is passed in
// one step (end of 5.3 of the Raft paper).
func (m *Machine) onAppendReject(from MemberID, msg AppendReject) {
	p := m.leading.peer(from)
	p.silent = 0
	if msg.PrevIndex <= p.match {
		return // answers a message from before the last acknowledgement
	}
	switch mode := p.mode.(type) {
	case *replicating:
		p.probe(p.match + 1)
	case *probing:
		if msg.PrevIndex != mode.from-1 {
			return // answers an earlier probe
		}
		from := msg.HintIndex + 1
		if msg.HintIndex > m.log.base {
			agree, _ := m.log.lastNotAfter(msg.HintIndex, msg.HintTerm)
			from = agree + 1
		}
		p.probe(min(from, msg.PrevIndex))
	}
}

// onHeartbeatReply notes that a member is there, and sends again what it must have lost.
func (m *Machine) onHeartbeatReply(from MemberID, msg HeartbeatReply) {
	p := m.leading.peer(from)
	p.silent = 0
	p.round = max(p.round, msg.Round)
	if msg.Match > p.match {
		m.onAppendReply(from, AppendReply{msg.Term, msg.Match})
	}
	switch mode := p.mode.(type) {
	case *probing:
		if p.quiet >= m.config.HeartbeatTicks {
			mode.sent = false
		}
	case *replicating:
		if msg.Received > mode.received || msg.Received >= mode.from-1 {
			mode.received = max(mode.received, msg.Received)
			p.quiet = 0
		} else if p.quiet >= m.config.lostTicks() && mode.window.count > 0 {
			p.probe(p.match + 1)
		}
	}
}

// advanceCommit moves the leader's commit index to what a quorum has on disk. Only an entry of its own term is
// committed by counting; those before come with it (3.6.2, figure 3.7).
func (m *Machine) advanceCommit() {
	if m.leading == nil {
		return
	}
	var few [9]Index
	acks := few[:0]
	for _, id := range m.configs.latest().Voters {
		acks = append(acks, m.durableAt(id))
	}
	if reached := quorum.Reached(acks); reached > m.commit && m.log.term(reached) == m.term {
		m.commitTo(reached)
	}
}

func (m *Machine) durableAt(id MemberID) Index {
	if id == m.id {
		return m.log.durable
	}
	return m.leading.peer(id).match
}

// commitTo moves the commit index forward.
func (m *Machine) commitTo(i Index) {
	if i <= m.commit {
		return
	}
	assert(i <= m.log.last(), "what is committed is in the log", i, m.log.last())
	bytes := m.log.size(m.commit, i)
	if m.lag += bytes; m.leading != nil {
		m.leading.uncommitted -= bytes
	}
	m.commit = i
}

// committedInTerm says whether the leader has committed an entry of its own term, and so knows all that is committed.
func (m *Machine) committedInTerm() bool { return m.commit >= m.leading.opened }
