package etcdserver

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
)

// TestALateCopyOfAnUpdateUndoesNothing: a member asks for peer URLs and hears of no
// answer before the leader changes, so it asks the next leader, too, over a slow link.
// When the copy arrives, the first one is applied, and a later update as well.
func TestALateCopyOfAnUpdateUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		first := c.leader()
		others := c.others(first)
		asker, next := others[0], others[1]
		slow := link{asker.ID().raft(), next.ID().raft(), logLane}
		const delay = 3 * time.Second
		c.net.change(func(on link) (time.Duration, bool) {
			if on == slow {
				return delay, false
			}
			return 0, false
		})
		c.net.cut(first.ID(), asker.ID(), true) // it hears of no leader, and of nothing that is applied
		older := make(chan error, 1)
		go func() { older <- asker.UpdateMember(context.Background(), next.ID(), []string{"http://older:2380"}) }()
		eventually(t, "the update to be applied by others", func() bool { return peerURL(next, next.ID()) == "http://older:2380" })
		c.lead(next)
		c.net.cut(first.ID(), asker.ID(), false)
		if err := <-older; err != nil {
			t.Fatalf("the older update: %v", err)
		}
		if err := next.UpdateMember(context.Background(), next.ID(), []string{"http://newer:2380"}); err != nil {
			t.Fatalf("the newer update: %v", err)
		}
		<-time.After(2 * delay)
		c.agree()
		for _, m := range c.running() {
			if url := peerURL(m, next.ID()); url != "http://newer:2380" {
				t.Errorf("%s has %s in its list", m.Name(), url)
			}
		}
	})
}

func peerURL(m *running, id ID) string {
	for _, info := range m.Members() {
		if info.ID == id {
			return info.PeerURLs[0]
		}
	}
	return ""
}

// TestCopiesInTheLogAreAppliedAlike: leaders of older versions may write an update twice. All
// versions must make the same of that, since members compare their lists.
func TestCopiesInTheLogAreAppliedAlike(t *testing.T) {
	always, other := newApplier(t, newState()), newApplier(t, newState())
	for _, update := range []*pb.Change{
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://older:2380"}}, Session: 1, Id: 1},
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://newer:2380"}}, Session: 2, Id: 1},
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://older:2380"}}, Session: 1, Id: 1},
	} {
		always.update(update)
		other.update(update)
		if got := always.loop.next.members.members[7].PeerURLs; !slices.Equal(got, update.Member.PeerUrls) {
			t.Errorf("the list has %v after an update to %v", got, update.Member.PeerUrls)
		}
		if other = other.restarted(); always.hash() != other.hash() {
			t.Error("a member that was restarted has another state")
		}
	}
}

func (a *applier) update(c *pb.Change) {
	a.t.Helper()
	context, err := c.MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	data, err := raft.ConfChange{Op: raft.UpdateContext, Member: raft.MemberID(c.Member.Id), Context: context}.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	entry := raft.Entry{Index: a.loop.next.index + 1, Term: 1, Type: raft.EntryConfChange, Data: data}
	if err := a.loop.applyBatch([]raft.Entry{entry}); err != nil {
		a.t.Fatal(err)
	}
}
