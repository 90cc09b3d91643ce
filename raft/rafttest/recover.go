package rafttest

import (
	"math/rand/v2"

	"canopy/raft"
)

// recover ends all faults, and runs until all members have all committed entries and answer reads.
func (g *generator) recover() {
	g.Rand = rand.New(rand.NewPCG(g.world.options.Seed, 8)) // not dependent on the events before
	g.cut, g.slow = map[link]bool{}, map[raft.MemberID]bool{}
	g.loss, g.speed = 0, 95
	for _, n := range g.world.nodes {
		if n.m == nil {
			g.on(n, Start)
		}
	}
	target := raft.Index(0)
	for i := range recoveryRounds {
		g.pass()
		leader := g.world.leader()
		if leader == nil {
			continue
		}
		if g.world.options.NoPreVote || g.world.options.NoCheckQuorum {
			g.stopRemoved(leader)
		}
		if i%20 == 0 && target == 0 {
			g.propose(leader)
			target = leader.m.Status().Last
		}
		if target > leader.m.Status().Last || target > 0 && i%100 == 0 {
			target = 0
		}
		if target > 0 && g.caughtUp(leader, target) && g.readsAnswered(leader) {
			return
		}
	}
	check(false, "%v: %s", ErrNoProgress, g.world)
}

// stopRemoved stops members that were removed: without the leader's lease they may disturb the others for ever. It starts a member
// again that belongs to the cluster by a change which the leader did not know before.
func (g *generator) stopRemoved(leader *node) {
	s := leader.m.Status()
	for i := max(s.Commit, leader.log.snap.Index) + 1; i <= leader.log.last(); i++ {
		if leader.log.at(i).Type == raft.EntryConfChange {
			return // the list may change
		}
	}
	for _, n := range g.world.nodes {
		switch member := s.Configuration.Contains(n.id); {
		case member && n.m == nil:
			g.on(n, Start)
		case !member && n.m != nil && n != leader:
			g.crash(n)
		}
	}
}

func (g *generator) caughtUp(leader *node, target raft.Index) bool {
	c := leader.m.Configuration()
	for _, id := range append(c.Voters, c.Learners...) {
		if g.world.node(id).state < target {
			return false
		}
	}
	return true
}

// readsAnswered asks the leader for one more read, and tells whether it is answered.
func (g *generator) readsAnswered(leader *node) bool {
	g.on(leader, Read)
	ctx := g.world.reads
	for range 20 {
		g.pass()
	}
	r := g.world.checks.reads[ctx]
	return r != nil && r.answered
}
