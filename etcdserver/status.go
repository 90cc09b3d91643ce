package etcdserver

import (
	"sync/atomic"
	"time"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/consistency"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/peerlist"
	"canopy/etcdserver/raftloop"
	"canopy/raft"
	"canopy/store"
)

// status answers from this member's own knowledge, without a lock. Any goroutine may call
// its methods. The raft loop stores leader and machine.
type status struct {
	self, cluster ID
	name          string
	started       time.Time

	store      *store.Store
	clock      *logclock.Clock
	writer     *logwriter.Front
	apply      *applier.Front
	raft       *raftloop.Front
	comparison *consistency.Comparison
	peers      *peerlist.List
	transport  Transport

	leader  atomic.Pointer[leadership]
	machine atomic.Pointer[raft.Status]
}

// ID is the member's own.
func (s *status) ID() ID { return s.self }

// ClusterID is the cluster's.
func (s *status) ClusterID() ID { return s.cluster }

// Auth is users, roles and tokens, as of what reads show.
func (s *status) Auth() *auth.State { return s.apply.Present().Auth }

// AuthChanged is closed when Auth gives another state.
func (s *status) AuthChanged() <-chan struct{} { return s.apply.AuthChanged() }

// Name is the member's own name.
func (s *status) Name() string { return s.name }

// Members lists the cluster's members as far as this one has applied the log,
// by numeric id (M8, M9).
func (s *status) Members() []MemberInfo {
	state := s.apply.Present()
	all := state.Members.List()
	for i := range all {
		all[i].Learner = state.Config.IsLearner(all[i].ID.Raft())
	}
	return all
}

// ClusterVersion is major.minor.0, or "" before it is decided (S19).
func (s *status) ClusterVersion() string { return s.apply.Present().Members.Version }

// Leader is the leader that the member knows of, 0 if none.
func (s *status) Leader() ID { return s.leader.Load().leader }

// LeaderSince is since when Leader has been so.
func (s *status) LeaderSince() time.Time { return s.leader.Load().since }

// IsLeader tells whether the member itself leads.
func (s *status) IsLeader() bool { return s.leader.Load().self }

// StartTime is when the member was opened.
func (s *status) StartTime() time.Time { return s.started }

// Position is that of the last applied entry.
func (s *status) Position() (index, term uint64) {
	head := s.apply.Present()
	return uint64(head.Index), uint64(head.Term)
}

// Status is the raft machine's, at most one tick old, but for what is applied.
func (s *status) Status() raft.Status {
	now := *s.machine.Load()
	now.Applied = max(now.Applied, s.apply.Present().Index)
	now.Commit = max(now.Commit, now.Applied)
	return now
}

// Now is the log's time, for the ttl numbers in answers (K82).
func (s *status) Now() store.Time { return s.clock.LogTime() }

// StoreStats counts what the store has done (S12).
func (s *status) StoreStats() store.Stats { return s.store.Stats() }

// CountGet counts a read in the store's statistics.
func (s *status) CountGet(ok bool) { s.store.CountGet(ok) }

// HistoryRange says from which index on watches can look back.
func (s *status) HistoryRange() (oldest, newest store.Index) { return s.store.HistoryRange() }

// Space tells what room there is on the member's disk.
func (s *status) Space() Space { return s.writer.Space().Status() }

// FollowerStats is how another member follows this leader (S9).
type FollowerStats = raftloop.FollowerStats

// Traffic is the log-append messages of this member since its start (S4).
type Traffic = raftloop.Traffic

// Flow is one direction of Traffic.
type Flow = raftloop.Flow

// Followers tells how all other members follow this one, by ID (S9).
func (s *status) Followers() []FollowerStats {
	var ids []ID
	for _, info := range s.Members() {
		if info.ID != s.self {
			ids = append(ids, info.ID)
		}
	}
	return s.raft.Followers().Stats(ids)
}

// Traffic counts append messages since the start (S4).
func (s *status) Traffic() Traffic { return s.raft.Followers().Traffic() }

// Differences lists the members whose state was another one than this member's
// when they were compared last. It is empty unless something is badly wrong.
func (s *status) Differences() []Difference {
	all, _ := s.comparison.Differences()
	return all
}
