package raft

import (
	"testing"
)

// A member that answers is active at every tick, also right after the leader has checked its quorum. A silent one is not active
// after an election time-out, and one that was never heard is never active.
func TestWhoWasHeardIsActive(t *testing.T) {
	m := leaderOf(t, 3, 1)
	active := func() map[MemberID]bool {
		all := map[MemberID]bool{}
		for _, p := range m.Status().Progress {
			all[p.ID] = p.Active
		}
		return all
	}
	if got := active(); got[2] || got[3] {
		t.Errorf("active before anything was heard: %v", got)
	}
	step(t, m, 3, HeartbeatReply{Term: m.term})
	for tick := range 3 * m.config.ElectionTicks {
		step(t, m, 2, HeartbeatReply{Term: m.term})
		m.Tick()
		if got := active(); !got[2] || got[3] != (tick < m.config.ElectionTicks) {
			t.Fatalf("active at tick %d: %v", tick+1, got)
		}
	}
}
