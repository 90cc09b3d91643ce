package etcdserver

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"canopy/raft"
)

// TestPromotion: the policy of the leader decides whether a learner becomes a
// voter by itself, and not the learner's own. Without it any member can be asked
// to promote one, which is refused while it could cost the quorum.
func TestPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.AutoPromote = o.Name == "m4" })
		asked := c.others(c.leader())[0]
		learner := c.join("m4")
		isLearner := func() bool { return c.leader().apply.Present().Config.IsLearner(learner.ID().Raft()) }
		time.Sleep(time.Minute) // simulated
		if !isLearner() {
			t.Fatal("the leader promotes, though its policy is not to")
		}
		refused := func(id ID, what string) {
			t.Helper()
			if err := asked.PromoteMember(t.Context(), id); !errors.As(err, new(*ReconfigurationError)) {
				t.Errorf("promoting %s: %v, want a refusal", what, err)
			}
		}
		absent, err := asked.AddMember(t.Context(), []string{"http://m5:2380"})
		if err != nil {
			t.Fatal(err)
		}
		refused(absent.ID, "a member that has never run")
		if err := asked.PromoteMember(t.Context(), 0xdead); !errors.Is(err, ErrNoSuchMember) {
			t.Errorf("promoting nobody: %v", err)
		}
		c.net.isolate(learner.ID(), true)
		eventually(t, "the leader to notice", func() bool { return !heardBy(c.leader(), learner) })
		refused(learner.ID(), "a member that is not heard")
		c.net.isolate(learner.ID(), false)
		eventually(t, "the leader to notice", func() bool { return heardBy(c.leader(), learner) })
		if err := asked.PromoteMember(t.Context(), learner.ID()); err != nil {
			t.Fatalf("promote: %v", err)
		}
		if isLearner() {
			t.Error("the promoted member is a learner still")
		}
		refused(learner.ID(), "a voter")
		if err := asked.RemoveMember(t.Context(), absent.ID); err != nil {
			t.Fatal(err)
		}
		if err := asked.PromoteMember(t.Context(), absent.ID); !errors.Is(err, ErrMemberRemoved) {
			t.Errorf("promoting a removed member: %v", err)
		}
	})
}

// heardBy tells whether a leader hears a member.
func heardBy(leader, m *running) bool {
	for _, p := range leader.Status().Progress {
		if p.ID == raft.MemberID(m.ID()) {
			return p.Active
		}
	}
	return false
}

// heard is how many voters a leader hears, itself included.
func heard(leader *running) int {
	status := leader.Status()
	heard := 1
	for _, p := range status.Progress {
		if p.Active && status.Configuration.IsVoter(p.ID) {
			heard++
		}
	}
	return heard
}
