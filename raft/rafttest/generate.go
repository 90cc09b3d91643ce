package rafttest

import (
	"math/rand/v2"
	"slices"

	"canopy/raft"
)

const (
	rounds         = 400  // with faults
	recoveryRounds = 1500 // without faults, at most, until the cluster has recovered
	foundersMax    = 5    // members of the first configuration
	idsMax         = 12   // ids ever used
	lostAfter      = 180  // a message is lost after so many rounds in which it was not delivered
)

// generator draws events, carries them out, and keeps them.
type generator struct {
	*rand.Rand
	world     *World
	recording bool
	events    []Event

	cut   map[link]bool
	slow  map[raft.MemberID]bool // disks
	loss  int                    // per cent of messages
	speed int                    // per cent of messages that arrive in a round
}

func drawOptions(seed uint64, r *rand.Rand) Options {
	return Options{
		Seed: seed, HeartbeatTicks: 1 + r.Uint64N(2), NoPreVote: r.IntN(8) == 0, NoCheckQuorum: r.IntN(8) == 0,
		InflightMessages: 1 + r.Uint64N(6), InflightBytes: 300 + r.Uint64N(3000), MessageBytes: 70 + r.Uint64N(1000),
		UncommittedBytes: 1000 + r.Uint64N(20000), RetainedBytes: r.Uint64N(10000),
		UnappliedBytes: 200 + r.Uint64N(5000), WriteBytes: 1 + r.Uint64N(1000),
	}
}

func (g *generator) do(e Event) {
	if g.recording {
		g.events = append(g.events, e)
	}
	g.world.Do(e)
}

// on does an event of a member, and mostly takes its work at once.
func (g *generator) on(n *node, op Op, args ...uint64) {
	g.do(event(op, append([]uint64{uint64(n.id)}, args...)...))
	if n.m != nil && g.IntN(5) > 0 {
		g.do(event(Work, uint64(n.id)))
	}
}

// found makes the first members.
func (g *generator) found() {
	founders := 1 + g.Uint64N(foundersMax)
	for id := range founders {
		g.do(event(Begin, id+1))
	}
	for id := range founders {
		g.do(event(Start, id+1))
	}
}

// live runs the rounds with faults.
func (g *generator) live() {
	g.cut, g.slow = map[link]bool{}, map[raft.MemberID]bool{}
	for range rounds {
		g.fault()
		g.clients()
		g.pass()
	}
}

// pass lets time pass: ticks, messages, disks and state machines, in random order.
func (g *generator) pass() {
	for _, n := range g.world.up() {
		if g.IntN(10) > 0 {
			g.on(n, Tick)
		}
	}
	for range 3 {
		g.deliver()
		for _, n := range g.world.up() {
			if len(n.writes) > 0 && g.IntN(3) > 0 && (!g.slow[n.id] || g.IntN(10) == 0) {
				g.on(n, Write, 1+g.Uint64N(uint64(len(n.writes))))
			}
			for len(n.applies) > 0 && g.IntN(3) > 0 {
				g.on(n, Apply)
			}
			if g.IntN(5) > 0 {
				g.do(event(Work, uint64(n.id)))
			}
		}
	}
}

// deliver moves messages, in any order.
func (g *generator) deliver() {
	for i := range g.world.net {
		g.world.net[i].passed++
	}
	net := slices.Clone(g.world.net)
	g.Shuffle(len(net), func(i, k int) { net[i], net[k] = net[k], net[i] })
	for _, m := range net {
		place, ok := g.world.place(m)
		if !ok {
			continue
		}
		args := []uint64{uint64(m.from), uint64(m.to), place}
		switch {
		case g.cut[m.link] || g.IntN(100) < g.loss || m.passed > lostAfter:
			g.do(event(Lose, args...))
			continue
		case g.IntN(100) >= g.speed:
			continue
		case g.loss > 0 && g.IntN(20) == 0:
			g.do(event(Double, args...))
		default:
			g.do(event(Deliver, args...))
		}
		if g.IntN(5) > 0 {
			g.do(event(Work, args[1]))
		}
	}
}

// clients propose, read, and compact.
func (g *generator) clients() {
	for range g.IntN(4) {
		if n := g.anyUp(); n != nil {
			g.propose(n)
		}
	}
	if n := g.anyUp(); n != nil && g.IntN(3) == 0 {
		g.on(n, Read)
	}
	if n := g.anyUp(); n != nil && g.IntN(15) == 0 {
		g.on(n, Compact, g.Uint64N(8))
	}
}

// propose mostly makes small entries, and sometimes one that is larger than a probe.
func (g *generator) propose(n *node) {
	bytes := 1 + g.Uint64N(60)
	if g.IntN(50) == 0 {
		bytes = 5000
	}
	g.on(n, Propose, 1+g.Uint64N(3), bytes)
}

func (g *generator) anyUp() *node {
	if up := g.world.up(); len(up) > 0 {
		return up[g.IntN(len(up))]
	}
	return nil
}

func (g *generator) any() *node { return g.world.nodes[g.IntN(len(g.world.nodes))] }

// fault sometimes causes a fault.
func (g *generator) fault() {
	switch g.IntN(60) {
	case 0, 1:
		if n := g.anyUp(); n != nil {
			g.crash(n)
		}
	case 2, 3, 4:
		if n := g.any(); n.m == nil {
			g.on(n, Start)
		}
	case 5:
		g.cutLinks()
	case 6:
		clear(g.cut)
	case 7:
		g.loss, g.speed = g.IntN(3)*g.IntN(20), 30+g.IntN(71)
	case 8:
		n := g.any()
		g.slow[n.id] = !g.slow[n.id]
	case 9, 10, 11:
		g.changeMembers()
	case 12:
		if n := g.world.leader(); n != nil {
			voters := n.m.Configuration().Voters
			g.on(n, Transfer, uint64(voters[g.IntN(len(voters))]))
		}
	case 13:
		if n := g.anyUp(); n != nil {
			g.on(n, Campaign)
		}
	}
}

// crash stops a member; each unfinished write may be the one that is torn.
func (g *generator) crash(n *node) {
	whole := 0
	for whole < len(n.writes) && g.IntN(3) > 0 {
		whole++
	}
	records := uint64(0)
	if whole < len(n.writes) {
		records = g.Uint64N(uint64(len(n.writes[whole].Entries)) + 2)
	}
	g.on(n, Crash, uint64(whole), records)
}

// cutLinks isolates a member in one or both directions, or divides the members into two groups.
func (g *generator) cutLinks() {
	side := map[raft.MemberID]bool{}
	if g.IntN(2) == 0 {
		side[g.any().id] = true
	} else {
		for _, n := range g.world.nodes {
			side[n.id] = g.IntN(2) == 0
		}
	}
	oneWay := g.IntN(3) == 0
	for _, a := range g.world.nodes {
		for _, b := range g.world.nodes {
			if side[a.id] && !side[b.id] {
				g.cut[link{a.id, b.id}] = true
				g.cut[link{b.id, a.id}] = !oneWay
			}
		}
	}
}

// changeMembers proposes a change that is possible to any member that takes itself for the leader.
func (g *generator) changeMembers() {
	for _, n := range g.world.up() {
		if n.m.Status().Role != raft.Leader {
			continue
		}
		c := n.m.Configuration()
		joins := len(g.world.nodes) < idsMax && len(c.Voters)+len(c.Learners) < 6
		op, other := raft.UpdateContext, c.Voters[0]
		switch k := g.IntN(6); {
		case k == 0 && joins:
			op, other = raft.AddVoter, raft.MemberID(len(g.world.nodes)+1)
		case k <= 2 && joins:
			op, other = raft.AddLearner, raft.MemberID(len(g.world.nodes)+1)
		case k <= 3 && len(c.Learners) > 0:
			op, other = raft.Promote, c.Learners[g.IntN(len(c.Learners))]
		case k <= 4:
			all := append(slices.Clone(c.Voters), c.Learners...)
			op, other = raft.Remove, all[g.IntN(len(all))]
		}
		g.on(n, Change, uint64(op), uint64(other))
	}
}
