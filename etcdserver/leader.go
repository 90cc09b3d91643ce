package etcdserver

import (
	"slices"
	"time"

	"canopy/raft"
)

// leadership is what the member knows of the leader.
type leadership struct {
	leader ID // 0: unknown
	self   bool
	term   raft.Term
	since  time.Time
}

// LeaderChanged implements raftloop.Events.
func (e events) LeaderChanged(leader raft.MemberID, role raft.Role, term raft.Term) {
	s := e.member.status
	before := s.leader.Load()
	now := &leadership{leader: ID(leader), self: role == raft.Leader, term: term, since: time.Now()}
	e.Log.Role(role, now.leader, term)
	if before.leader == now.leader && before.self == now.self {
		now.since = before.since
		s.leader.Store(now)
		return
	}
	s.leader.Store(now)
	e.logLeader(before, now)
	if e.observer.LeaderChanged != nil {
		e.observer.LeaderChanged(now.leader, now.self)
	}
	e.member.negotiator.wake()
}

// logLeader logs who leads, or who no longer leads, and in which term that was. If the last
// message of the leader is recent, it has handed leadership over.
func (e events) logLeader(before, now *leadership) {
	s := e.member.status
	if now.leader != 0 {
		e.Log.Elected(now.leader, s.self, now.term)
		return
	}
	if silent := s.silence(before, now.since); silent >= e.election*3/4 {
		e.Log.LostLeader(before.leader, s.self, before.term, silent, s.reach())
		return
	}
	e.Log.Resigned(before.leader, s.self, before.term)
}

// silence is how long nothing was heard from a leader or, if this member leads, from the last voter that makes a quorum.
func (s *status) silence(of *leadership, now time.Time) time.Duration {
	var silences []time.Duration
	configuration := s.Status().Configuration
	for _, p := range s.transport.Status() {
		silent := now.Sub(p.LastHeard)
		if !of.self && ID(p.ID) == of.leader {
			return silent
		}
		if of.self && slices.Contains(configuration.Voters, p.ID) {
			silences = append(silences, silent)
		}
	}
	slices.Sort(silences)
	needed := len(configuration.Voters) / 2 // besides this member
	if needed == 0 || len(silences) < needed {
		return 0
	}
	return silences[needed-1]
}
