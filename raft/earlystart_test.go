package raft

import (
	"testing"
)

// startOf gives how many ticks a member of three waits for a leader, from its start on, until it first asks to be elected.
func startOf(t *testing.T, c Config, rng int) int {
	t.Helper()
	var changes []ConfChange
	for id := MemberID(1); id <= 3; id++ {
		changes = append(changes, ConfChange{Op: AddVoter, Member: id})
	}
	state, err := Bootstrap(changes...)
	if err != nil {
		t.Fatal(err)
	}
	c.ID, c.ElectionTicks, c.Random = 1, 10, func(n int) int { return rng % n }
	m, err := New(c, state)
	if err != nil {
		t.Fatal(err)
	}
	for tick := 1; tick <= 20; tick++ {
		m.Tick()
		if r := m.role(); r == PreCandidate || r == Candidate {
			return tick
		}
	}
	t.Fatal("it does not stand for election")
	return 0
}

// EarlyStart saves one tick less than an election time-out, and works with pre-votes only, which depose no leader. The time-out is
// still random, so that members rarely stand at the same time.
func TestAnEarlyStart(t *testing.T) {
	for rng := range 10 {
		for _, tt := range []struct {
			config Config
			want   int
		}{
			{Config{}, 10 + rng},
			{Config{EarlyStart: true}, 1 + rng},
			{Config{EarlyStart: true, NoPreVote: true}, 10 + rng},
		} {
			if got := startOf(t, tt.config, rng); got != tt.want {
				t.Errorf("%+v, rng %d: it stands after %d ticks, want %d", tt.config, rng, got, tt.want)
			}
		}
	}
}
