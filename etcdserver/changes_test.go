package etcdserver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
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
		slow := link{asker.ID().Raft(), next.ID().Raft(), logLane}
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
