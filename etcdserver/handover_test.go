package etcdserver

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/raft"
)

// TestMembersThatStopAtOnce: the leader and others are told to stop at once, or
// one shortly after the other. A member that goes on leads then. The leadership
// does not go to and fro: at most each that stops hands it over once.
func TestMembersThatStopAtOnce(t *testing.T) {
	for _, c := range []struct{ size, stop int }{{2, 2}, {3, 1}, {3, 2}, {3, 3}, {5, 3}} {
		for _, apart := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 150 * time.Millisecond} {
			t.Run(fmt.Sprintf("%d of %d, %v apart", c.stop, c.size, apart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { stopAtOnce(t, c.size, c.stop, apart) })
			})
		}
	}
}

func stopAtOnce(t *testing.T, size, stop int, apart time.Duration) {
	c := newTestCluster(t, size, nil)
	leader := c.leader()
	before := leader.Status().Term
	order := append([]*running{leader}, c.others(leader)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var group sync.WaitGroup
	for _, m := range order[:stop] {
		group.Go(func() { m.Retire(ctx) })
		time.Sleep(apart) // simulated
	}
	group.Wait()
	if ctx.Err() != nil && stop < size {
		t.Error("a member that is told to stop still hands over after a second")
	}
	time.Sleep(50 * time.Millisecond) // simulated: what is on its way arrives
	for _, m := range order {
		if rose := m.Status().Term - before; rose > min(raft.Term(stop), raft.Term(size-1)) {
			t.Errorf("%d members of %d stop, and at %s terms have risen by %d", stop, size, m.Name(), rose)
		}
	}
	for _, m := range order[:stop] {
		if m.IsLeader() && stop < size {
			t.Errorf("%s leads, and is about to stop", m.Name())
		}
	}
	if stop == size {
		return
	}
	order[size-1].set("/k", "1")
	if at := c.leader().Name(); at == leader.Name() {
		t.Errorf("%s still leads", at)
	}
}
