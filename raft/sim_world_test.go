package raft

import (
	"fmt"
	"slices"
)

// clients propose, read, and compact.
func (s *sim) clients() {
	for range s.IntN(4) {
		if n := s.anyUp(); n != nil {
			s.propose(n)
		}
	}
	if n := s.anyUp(); n != nil && s.IntN(3) == 0 {
		s.read(n)
	}
	if n := s.anyUp(); n != nil && s.IntN(15) == 0 {
		s.compact(n)
	}
}

func (s *sim) propose(n *simNode) {
	var batch [][]byte
	for range 1 + s.IntN(3) {
		s.acked++
		batch = append(batch, fmt.Appendf(nil, "%0*d", 1+s.IntN(60), s.acked))
	}
	first, term, err := n.m.Propose(batch...)
	if err == nil {
		check(n.m.log.at(first).Term == term, "proposal at %d is not of term %d", first, term)
	}
	s.collect(n)
}

func (s *sim) read(n *simNode) {
	s.reads++
	if n.m.ReadIndex(s.reads) == nil {
		s.checks.readAsked(s.reads)
	}
	s.collect(n)
}

// compact takes a snapshot of a state machine, and forgets most of the log.
func (s *sim) compact(n *simNode) {
	at := min(n.state, n.m.applied)
	meta, err := n.m.SnapshotMeta(at)
	if err != nil || at <= n.disk.snap.Index {
		return
	}
	n.disk.entries = slices.Clone(n.disk.entries[at-n.disk.snap.Index:])
	n.disk.snap = meta
	keep := at + 1 - min(at, Index(s.IntN(8)))
	s.tracef("%d compacts at %d, keeps from %d", n.id, at, keep)
	err = n.m.Compact(meta, keep)
	check(err == nil, "compact at %d: %v", at, err)
	s.collect(n)
}

// faults change the world now and then.
func (s *sim) faults() {
	switch s.IntN(60) {
	case 0, 1:
		if n := s.anyUp(); n != nil {
			s.crash(n)
		}
	case 2, 3, 4:
		n := s.nodes[s.IntN(len(s.nodes))]
		if n.m == nil {
			s.start(n)
			s.collect(n)
		}
	case 5:
		s.cutLinks()
	case 6:
		s.tracef("links heal")
		clear(s.cut)
	case 7:
		s.loss = s.IntN(3) * s.IntN(20)
		s.speed = 30 + s.IntN(71)
		s.tracef("loss %d, speed %d", s.loss, s.speed)
	case 8:
		n := s.nodes[s.IntN(len(s.nodes))]
		n.slow = !n.slow
	case 9, 10, 11:
		s.changeMembers()
	case 12:
		s.transfer()
	case 13:
		if n := s.anyUp(); n != nil {
			s.tracef("%d campaigns", n.id)
			n.m.Campaign()
			s.collect(n)
		}
	}
}

// cutLinks isolates a member, one way or both, or parts the members in two.
func (s *sim) cutLinks() {
	side := map[MemberID]bool{}
	for _, n := range s.nodes {
		side[n.id] = s.IntN(2) == 0
	}
	if s.IntN(2) == 0 {
		clear(side)
		side[s.nodes[s.IntN(len(s.nodes))].id] = true
	}
	oneWay := s.IntN(3) == 0
	s.tracef("links are cut: %v, one way %v", side, oneWay)
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if side[a.id] && !side[b.id] {
				s.cut[[2]MemberID{a.id, b.id}] = true
				s.cut[[2]MemberID{b.id, a.id}] = !oneWay
			}
		}
	}
}

func (s *sim) leader() *simNode {
	var leader *simNode
	for _, n := range s.up() {
		if n.m.leading != nil && (leader == nil || n.m.term > leader.m.term) {
			leader = n
		}
	}
	return leader
}

// changeMembers proposes a change that makes sense to any member that believes to be leader.
func (s *sim) changeMembers() {
	for _, n := range s.up() {
		if n.m.leading == nil {
			continue
		}
		c := n.m.Configuration()
		change := ConfChange{Member: MemberID(len(s.nodes) + 1)}
		joins := len(s.nodes) < simMembers && len(c.Voters)+len(c.Learners) < 6
		switch k := s.IntN(6); {
		case k == 0 && joins:
			change.Op = AddVoter
		case k <= 2 && joins:
			change.Op = AddLearner
		case k <= 3 && len(c.Learners) > 0:
			change.Op, change.Member = Promote, c.Learners[s.IntN(len(c.Learners))]
		case k <= 4:
			all := append(slices.Clone(c.Voters), c.Learners...)
			change.Op, change.Member = Remove, all[s.IntN(len(all))]
		default:
			change.Op, change.Member = UpdateContext, c.Voters[0]
		}
		at, _, err := n.m.ProposeConfChange(change)
		s.tracef("%d proposes %v %d at %d: %v", n.id, change.Op, change.Member, at, err)
		if err == nil && int(change.Member) > len(s.nodes) {
			joiner := &simNode{id: change.Member}
			s.nodes = append(s.nodes, joiner)
			s.start(joiner)
		}
		s.collect(n)
	}
}

func (s *sim) transfer() {
	if n := s.leader(); n != nil {
		voters := n.m.Configuration().Voters
		to := voters[s.IntN(len(voters))]
		err := n.m.TransferLeadership(to)
		s.tracef("%d transfers to %d: %v", n.id, to, err)
		s.collect(n)
	}
}

// calm ends all faults, and waits until all members have all that is committed and answer reads.
func (s *sim) calm() {
	s.tracef("calm")
	clear(s.cut)
	s.loss, s.speed = 0, 95
	for _, n := range s.nodes {
		n.slow = false
		if n.m == nil {
			s.start(n)
		}
	}
	target := Index(0)
	for i := range simCalm {
		s.round()
		leader := s.leader()
		if leader == nil {
			continue
		}
		if s.options.NoPreVote || s.options.NoCheckQuorum {
			s.stopStrangers(leader.m)
		}
		if i%20 == 0 && target == 0 {
			s.propose(leader)
			target = leader.m.log.last()
		}
		if target > leader.m.log.last() || target > 0 && i%100 == 0 {
			target = 0
		}
		if target > 0 && s.settled(leader, target) && s.readsAnswered(leader) {
			return
		}
	}
	for _, n := range s.nodes {
		if n.m != nil {
			fmt.Printf("%+v\n", n.m.Status())
		}
	}
	panic("no progress after all faults ended")
}

// stopStrangers stops members that were removed: without the leader's lease they may disturb the others for ever. Who is a
// member after all, by a change that the leader did not know when it was asked before, is started again.
func (s *sim) stopStrangers(leader *Machine) {
	if leader.configs.latestIndex() > leader.commit {
		return
	}
	for _, n := range s.nodes {
		switch member := leader.configs.latest().Contains(n.id); {
		case member && n.m == nil:
			s.start(n)
		case !member && n.m != nil && n.m != leader:
			s.crash(n)
		}
	}
}

func (s *sim) settled(leader *simNode, target Index) bool {
	c := leader.m.Configuration()
	for _, id := range append(c.Voters, c.Learners...) {
		if s.nodes[id-1].state < target {
			return false
		}
	}
	return true
}

// readsAnswered asks the leader for one more read until all is quiet, and says whether none waits on it.
func (s *sim) readsAnswered(leader *simNode) bool {
	s.read(leader)
	for range 20 {
		s.round()
	}
	return s.checks.reads.answered[s.reads]
}
