package raft

import (
	"canopy/raft/follower"
	"canopy/raft/membership"
)

// SnapshotMeta describes a snapshot at an index, which must be applied and not before the last compaction.
func (m *Machine) SnapshotMeta(at Index) (SnapshotMeta, error) {
	switch {
	case at == 0 || at > m.applied:
		return SnapshotMeta{}, ErrCompact{at, "not applied yet"}
	case at < m.log.Base():
		return SnapshotMeta{}, ErrCompact{at, "compacted already"}
	}
	return SnapshotMeta{at, m.log.Term(at), m.configs.At(at).Clone()}, nil
}

// Compact tells that a snapshot is on disk, and that entries before keepFrom may be dropped. Members that are only a little behind
// get the entries that are kept, and need no snapshot. Compact also keeps the entries that a member needs after the snapshot that it
// is being sent, unless the log is larger than Config.MaxRetainedBytes. Without them it would need one snapshot after the other.
func (m *Machine) Compact(snap SnapshotMeta, keepFrom Index) error {
	if snap.Index < m.snapshot.Index {
		return nil // a newer snapshot was received
	}
	own, err := m.SnapshotMeta(snap.Index)
	switch {
	case err != nil:
		return err
	case own.Term != snap.Term || !own.Configuration.Equal(snap.Configuration):
		return ErrCompact{snap.Index, "term or configuration is not that of the log"}
	case keepFrom > snap.Index+1:
		return ErrCompact{keepFrom, "entries behind the snapshot cannot be dropped"}
	}
	m.snapshot = own
	keepFrom = min(keepFrom, m.neededFrom())
	if keepFrom == 0 {
		return nil
	}
	m.configs.Compact(max(keepFrom-1, m.log.Base()))
	m.log.Compact(keepFrom - 1)
	return nil
}

// neededFrom gives the first entry that a member needs behind the snapshot it is being sent.
func (m *Machine) neededFrom() Index {
	from := indexMax
	if m.leading == nil || m.log.Bytes() > m.config.MaxRetainedBytes {
		return from
	}
	for _, p := range m.leading.peers {
		if mode, ok := p.Mode.(*follower.SendingSnapshot); ok {
			from = min(from, mode.Next())
		}
	}
	return from
}

// sendSnapshot sends a member the snapshot, if it is alive.
func (m *Machine) sendSnapshot(p *follower.Progress) {
	if !m.active(p) || p.Leaves > 0 {
		return
	}
	p.SendSnapshot(m.snapshot.Index)
	m.send(p.ID, Snapshot{m.term, m.snapshot})
}

// SnapshotSent tells the outcome of a Snapshot message: ok if the receiver has stepped it. It must be called for each one, or the
// member may wait for ever. The member's acknowledgement tells what the snapshot has brought; if it is lost, a probe asks.
func (m *Machine) SnapshotSent(to MemberID, ok bool) {
	if m.leading == nil {
		return
	}
	p := m.leading.peer(to)
	if p == nil {
		return
	}
	mode, sending := p.Mode.(*follower.SendingSnapshot)
	if !sending {
		return
	}
	if ok {
		p.Probe(mode.UpTo + 1)
	} else {
		p.Probe(p.Match + 1)
	}
	p.Mode.(*follower.Probing).Sent = true // until the next heartbeat is answered
}

// admitSnapshot refuses a snapshot that contradicts what this term's leader sent before.
func (m *Machine) admitSnapshot(msg Snapshot) error {
	at := msg.Meta.Index
	if at > m.commit && msg.Meta.Term < m.log.Term(m.commit) {
		return ErrConflict
	}
	if at < m.log.Base() || at > m.log.Last() || m.log.Term(at) == msg.Meta.Term {
		return nil
	}
	if at <= m.commit || msg.Term == m.term && at <= m.following.received {
		return ErrConflict
	}
	return nil
}

// onSnapshot replaces the log by a snapshot (5). If the log already has what is in it, only the commit index moves.
func (m *Machine) onSnapshot(from MemberID, msg Snapshot) {
	meta := msg.Meta
	switch {
	case meta.Index <= m.commit:
	case m.log.Agrees(meta.Index, meta.Term):
		m.commitTo(meta.Index)
	default:
		m.install = nil
		m.disk.snapshot, m.disk.handed = &meta, false
		m.disk.forget(m.commit)
		m.log.Reset(meta.Index, meta.Term, m.commit)
		m.commit, m.lag = meta.Index, 0
		m.snapshot = meta
		m.configs = membership.NewHistory(meta.Index, meta.Configuration.Clone())
	}
	m.following.received = max(m.following.received, m.commit)
	m.sendDurable(from, AppendReply{m.term, m.commit})
}
