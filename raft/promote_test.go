package raft

import (
	"testing"

	"canopy/raft/follower"
)

func TestLearnerIsPromotedOnlyWhenItHasCaughtUp(t *testing.T) {
	m := leaderOf(t, 1, 1)
	if _, _, err := m.ProposeConfChange(ConfChange{Op: AddLearner, Member: 2}); err != nil {
		t.Fatal(err)
	}
	makeWritesDurable(m)
	promote := ConfChange{Op: Promote, Member: 2}
	if _, _, err := m.ProposeConfChange(promote); err != ErrNotCaughtUp {
		t.Errorf("promotion of a learner never heard of = %v, want ErrNotCaughtUp", err)
	}
	step(t, m, 2, AppendReply{m.term, 13})
	for range follower.PromoteLagMax + 1 {
		if _, _, err := m.Propose(nil); err != nil {
			t.Fatal(err)
		}
	}
	makeWritesDurable(m)
	if _, _, err := m.ProposeConfChange(promote); err != ErrNotCaughtUp {
		t.Errorf("promotion of a learner that lacks %d entries = %v, want ErrNotCaughtUp", follower.PromoteLagMax+1, err)
	}
	step(t, m, 2, AppendReply{m.term, 14})
	if _, _, err := m.ProposeConfChange(promote); err != nil {
		t.Errorf("promotion of a learner that lacks %d entries = %v, want nil", follower.PromoteLagMax, err)
	}
}
