package raft

// SnapshotMeta gives what describes a snapshot at an index: one that is applied, and not before the last compaction.
func (m *Machine) SnapshotMeta(at Index) (SnapshotMeta, error) {
	switch {
	case at == 0 || at > m.applied:
		return SnapshotMeta{}, ErrCompact{at, "not applied yet"}
	case at < m.log.base:
		return SnapshotMeta{}, ErrCompact{at, "forgotten already"}
	}
	return SnapshotMeta{at, m.log.term(at), m.configs.at(at).clone()}, nil
}

// Compact tells that a snapshot is on disk, and that entries before keepFrom may be forgotten; what is kept spares
// members which are a little behind from being sent the snapshot. Entries that a member will need right after the snapshot it is being sent are
// kept too, as long as the log is not larger than Config.MaxRetainedBytes: else it would need another one, for ever.
func (m *Machine) Compact(snap SnapshotMeta, keepFrom Index) error {
	if snap.Index < m.snapshot.Index {
		return nil // overtaken by a snapshot that was received meanwhile
	}
	own, err := m.SnapshotMeta(snap.Index)
	switch {
	case err != nil:
		return err
	case own.Term != snap.Term || !own.Configuration.Equal(snap.Configuration):
		return ErrCompact{snap.Index, "term or configuration is not that of the log"}
	case keepFrom > snap.Index+1:
		return ErrCompact{keepFrom, "entries behind the snapshot cannot be forgotten"}
	}
	m.snapshot = own
	keepFrom = min(keepFrom, m.neededFrom())
	if keepFrom == 0 {
		return nil
	}
	m.configs.compact(max(keepFrom-1, m.log.base))
	m.log.compact(keepFrom - 1)
	return nil
}

// neededFrom gives the first entry that a member needs behind the snapshot it is being sent.
func (m *Machine) neededFrom() Index {
	from := indexMax
	if m.leading == nil || m.log.bytes > m.config.MaxRetainedBytes {
		return from
	}
	for _, p := range m.leading.peers {
		if mode, ok := p.mode.(*sendingSnapshot); ok {
			from = min(from, mode.next())
		}
	}
	return from
}

// sendSnapshot tells a member to take the snapshot, if it is there to listen.
func (m *Machine) sendSnapshot(p *progress) {
	if !m.active(p) || p.leaves > 0 {
		return
	}
	p.quiet = 0
	p.mode = &sendingSnapshot{m.snapshot.Index}
	m.send(p.id, Snapshot{m.term, m.snapshot})
}

// SnapshotSent tells what became of a Snapshot message: ok if the receiver has stepped it. It must be called for each one, or the
// member may wait for ever. What the snapshot brought is learnt from the member's own acknowledgement; if that is lost, by asking.
func (m *Machine) SnapshotSent(to MemberID, ok bool) {
	if m.leading == nil {
		return
	}
	p := m.leading.peer(to)
	if p == nil {
		return
	}
	mode, sending := p.mode.(*sendingSnapshot)
	if !sending {
		return
	}
	if ok {
		p.probe(mode.upTo + 1)
	} else {
		p.probe(p.match + 1)
	}
	p.mode.(*probing).sent = true // until the next heartbeat is answered
}

// admitSnapshot refuses a snapshot that contradicts what this term's leader sent before.
func (m *Machine) admitSnapshot(msg Snapshot) error {
	at := msg.Meta.Index
	if at > m.commit && msg.Meta.Term < m.log.term(m.commit) {
		return ErrConflict
	}
	if at < m.log.base || at > m.log.last() || m.log.term(at) == msg.Meta.Term {
		return nil
	}
	if at <= m.commit || msg.Term == m.term && at <= m.following.received {
		return ErrConflict
	}
	return nil
}

// onSnapshot replaces the log by a snapshot (5), unless it is there already; then only the commit index is learnt.
func (m *Machine) onSnapshot(from MemberID, msg Snapshot) {
	meta := msg.Meta
	switch {
	case meta.Index <= m.commit:
	case m.log.agrees(meta.Index, meta.Term):
		m.commitTo(meta.Index)
	default:
		m.install = nil
		m.disk.snapshot, m.disk.handed = &meta, false
		m.disk.forget(m.commit)
		m.log.reset(meta, m.commit)
		m.commit, m.lag = meta.Index, 0
		m.snapshot = meta
		m.configs = configHistory{[]configStep{{meta.Index, meta.Configuration.clone()}}}
	}
	m.following.received = max(m.following.received, m.commit)
	m.sendDurable(from, AppendReply{m.term, m.commit})
}
