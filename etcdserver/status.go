package etcdserver

import (
	"time"

	"canopy/raft"
	"canopy/store"
)

// What follows is answered from this member's own knowledge, without a lock.

// ID is the member's own.
func (m *Member) ID() ID { return m.self }

// ClusterID is the cluster's.
func (m *Member) ClusterID() ID { return m.cluster }

// Name is the member's own name.
func (m *Member) Name() string { return m.options.Name }

// Members lists the cluster's members as far as this one has applied the log,
// by numeric id (M8, M9).
func (m *Member) Members() []MemberInfo {
	state := m.apply.present.Load()
	all := state.Members.List()
	for i := range all {
		all[i].Learner = state.Config.IsLearner(all[i].ID.Raft())
	}
	return all
}

// ClusterVersion is major.minor.0, or "" before it is decided (S19).
func (m *Member) ClusterVersion() string { return m.apply.present.Load().Members.Version }

// Leader is the leader that the member knows of, 0 if none.
func (m *Member) Leader() ID { return m.leader.Load().leader }

// LeaderSince is since when Leader has been so.
func (m *Member) LeaderSince() time.Time { return m.leader.Load().since }

// IsLeader tells whether the member itself leads.
func (m *Member) IsLeader() bool { return m.leader.Load().self }

// StartTime is when the member was opened.
func (m *Member) StartTime() time.Time { return m.started }

// Position is that of the last applied entry.
func (m *Member) Position() (index, term uint64) {
	s := m.apply.present.Load()
	return uint64(s.Index), uint64(s.Term)
}

// Status is the raft machine's, at most one tick old, but for what is applied.
func (m *Member) Status() raft.Status {
	s := *m.status.Load()
	s.Applied = max(s.Applied, m.apply.present.Load().Index)
	s.Commit = max(s.Commit, s.Applied)
	return s
}

// Now is the log's time, for the ttl numbers in answers (K82).
func (m *Member) Now() store.Time { return m.clock.logTime() }

// StoreStats counts what the store has done (S12).
func (m *Member) StoreStats() store.Stats { return m.store.Stats() }

// CountGet counts a read in the store's statistics.
func (m *Member) CountGet(ok bool) { m.store.CountGet(ok) }

// HistoryRange says from which index on watches can look back.
func (m *Member) HistoryRange() (oldest, newest store.Index) { return m.store.HistoryRange() }

// Space tells what room there is on the member's disk.
func (m *Member) Space() Space { return m.writer.space.status() }
