package rafttest

import (
	"bytes"

	"canopy/raft"
)

// checks are the promises of the algorithm (Raft paper, figure 3), and some of our own.
type checks struct {
	leaders   map[raft.Term]raft.MemberID
	chosen    []choice // the committed entries, by index-1
	reads     map[uint64]*reading
	positions map[raft.MemberID]*position
	walk      int // events since logs were compared
}

// choice is a committed entry.
type choice struct {
	entry raft.Entry
	by    raft.Term // at most of this term was the leader that committed it
}

// reading is a read that was asked for.
type reading struct {
	committed raft.Index // by anybody, then
	answered  bool
}

// position is what must not fall while a member runs.
type position struct {
	term            raft.Term
	commit, applied raft.Index
	compared        raft.Index // committed entries up to here were compared
	led             raft.Term  // the last term it led
}

func newChecks() checks {
	return checks{leaders: map[raft.Term]raft.MemberID{}, reads: map[uint64]*reading{}, positions: map[raft.MemberID]*position{}}
}

func (c *checks) started(n *node) { c.positions[n.id] = &position{compared: n.disk.snap.Index} }

// walkEvery is how many events may pass until whole logs are compared.
const walkEvery = 400

// machine checks a machine after an event. Its log is known as far as its work was taken: completely right after that. What a leader
// has committed is always known, since it is on its disk, or on the disks of others that got it from there.
func (c *checks) machine(w *World, n *node, worked bool) {
	s, p := n.m.Status(), c.positions[n.id]
	check(s.Term >= p.term && s.Commit >= p.commit && s.Applied >= p.applied, "%d falls back from %+v to %+v", n.id, *p, s)
	check(s.Commit <= s.Last && s.Durable <= s.Last && s.Applied <= s.Commit, "%d is ahead of itself: %+v", n.id, s)
	p.term, p.commit, p.applied = s.Term, s.Commit, s.Applied
	if s.Role == raft.Leader && p.led != s.Term {
		p.led = s.Term
		c.elected(w, n, s)
	}
	if s.Commit > p.compared && (worked || s.Role == raft.Leader && s.Commit <= n.log.last()) {
		c.committed(w, n, s, p)
	}
	if c.walk++; c.walk >= walkEvery {
		c.walk = 0
		c.logs(w)
	}
}

// elected checks election safety, and leader completeness.
func (c *checks) elected(w *World, n *node, s raft.Status) {
	other, led := c.leaders[s.Term]
	check(!led || other == n.id, "%d and %d both lead term %d", other, n.id, s.Term)
	c.leaders[s.Term] = n.id
	w.seen.Elections++
	for i := range c.chosen {
		e := &c.chosen[i].entry
		check(c.chosen[i].by >= s.Term || n.log.has(e.Index, e.Term), "%d leads term %d without the committed entry %d of term %d", n.id, s.Term, e.Index, e.Term)
	}
}

// committed checks that there is one entry an index, and that it is on a quorum of disks when it is committed.
func (c *checks) committed(w *World, n *node, s raft.Status, p *position) {
	for i := max(p.compared, n.log.snap.Index) + 1; i <= s.Commit; i++ {
		e := n.log.at(i)
		if int(i) <= len(c.chosen) {
			same(&c.chosen[i-1].entry, e, n.id)
			continue
		}
		check(int(i) == len(c.chosen)+1, "%d commits %d, and nobody has committed %d", n.id, i, len(c.chosen)+1)
		c.chosen = append(c.chosen, choice{*e, s.Term})
		if e.Term == 1 {
			continue // all begin with it
		}
		c.durable(w, e, s)
		if e.Type == raft.EntryConfChange {
			w.seen.Changes++
		}
	}
	p.compared = s.Commit
}

// durable counts the disks. A member that has stepped down may know other voters.
func (c *checks) durable(w *World, e *raft.Entry, s raft.Status) {
	disks, voters := 0, s.Configuration.Voters
	for _, id := range voters {
		if w.node(id).disk.has(e.Index, e.Term) {
			disks++
		}
	}
	check(disks > len(voters)/2 || s.Role != raft.Leader, "%d is committed, and on %d of %d disks", e.Index, disks, len(voters))
}

func same(a, b *raft.Entry, id raft.MemberID) {
	check(a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data),
		"entry %d of term %d is of term %d on %d, or has other data", a.Index, a.Term, b.Term, id)
}

// applied checks an entry on its way into a state machine.
func (c *checks) applied(id raft.MemberID, e raft.Entry) {
	check(int(e.Index) <= len(c.chosen), "%d applies %d, which is not committed", id, e.Index)
	same(&c.chosen[e.Index-1].entry, &e, id)
}

// hardState checks what is written: no number falls, and a vote in a term does not change.
func (c *checks) hardState(id raft.MemberID, before, after raft.HardState) {
	check(after.Term >= before.Term, "%d writes term %d after %d", id, after.Term, before.Term)
	check(after.Commit >= before.Commit, "%d writes commit %d after %d", id, after.Commit, before.Commit)
	check(after.Term > before.Term || before.Vote == raft.None || after.Vote == before.Vote, "%d votes twice in term %d", id, after.Term)
}

// asked records a read: its index must include all that is committed now.
func (c *checks) asked(ctx uint64) { c.reads[ctx] = &reading{committed: raft.Index(len(c.chosen))} }

// answers checks reads.
func (c *checks) answers(work raft.Work) {
	for _, r := range work.Reads {
		asked := c.reads[r.Ctx]
		check(asked != nil && !asked.answered, "read %d is answered, and nobody waits for it", r.Ctx)
		check(r.Index >= asked.committed, "read %d is answered with %d, and %d was committed when it was asked", r.Ctx, r.Index, asked.committed)
		asked.answered = true
	}
	for _, ctx := range work.LostReads {
		check(c.reads[ctx] != nil && !c.reads[ctx].answered, "read %d is lost, and nobody waits for it", ctx)
		delete(c.reads, ctx)
	}
}

// logs checks whole logs: log matching, the machines' own sums, and that a leader has at most one change of voters that is not
// committed.
func (c *checks) logs(w *World) {
	up := w.up()
	for i, a := range up {
		err := a.m.Check()
		check(err == nil, "%v", err)
		c.inFlight(a)
		for _, b := range up[:i] {
			matching(a, b)
		}
	}
}

// inFlight counts the changes that are not committed; a new leader may not know yet which are.
func (c *checks) inFlight(n *node) {
	s := n.m.Status()
	changes := 0
	for i := max(raft.Index(len(c.chosen)), n.log.snap.Index) + 1; i <= n.log.last() && s.Role == raft.Leader; i++ {
		if change, err := raft.DecodeConfChange(n.log.at(i).Data); n.log.at(i).Type == raft.EntryConfChange && err == nil && change.Op != raft.UpdateContext {
			changes++
		}
	}
	check(changes <= 1, "%d has %d changes of the members in flight", n.id, changes)
}

// matching checks that two logs which agree at an index agree on all before it.
func matching(a, b *node) {
	agree := false
	for i := min(a.log.last(), b.log.last()); i > max(a.log.snap.Index, b.log.snap.Index); i-- {
		if x, y := a.log.at(i), b.log.at(i); x.Term == y.Term {
			same(x, y, b.id)
			agree = true
		} else {
			check(!agree, "the logs of %d and %d part at %d, and agree behind it", a.id, b.id, i)
		}
	}
}
