package raft

import (
	"bytes"
	"errors"
	"fmt"
)

// check ends a simulation that shows a violation.
func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("violation: "+format, args...))
	}
}

// checks holds one checker a property.
type checks struct {
	elections electionSafety
	chosen    stateMachineSafety
	reads     readSafety
	positions map[MemberID]position
}

func newChecks() checks {
	return checks{
		elections: electionSafety{map[Term]MemberID{}},
		reads:     readSafety{asked: map[uint64]Index{}, answered: map[uint64]bool{}},
		positions: map[MemberID]position{},
	}
}

// position is what must not fall while a member runs.
type position struct {
	term            Term
	commit, applied Index
	leads           bool
	following       following
}

func (c *checks) started(n *simNode) { delete(c.positions, n.id); c.positions[n.id] = position{} }

// machine checks a machine after something was done to it.
func (c *checks) machine(s *sim, n *simNode) {
	m := n.m
	before := c.positions[n.id]
	check(m.term >= before.term && m.commit >= before.commit && m.applied >= before.applied,
		"%d falls back from %+v", n.id, before)
	check(m.log.base <= m.commit && m.commit <= m.log.last(), "%d commits %d of %d", n.id, m.commit, m.log.last())
	check(m.log.durable <= m.log.last() && m.applying <= m.commit, "%d is ahead of itself", n.id)
	check(m.leading == nil || m.ballot == nil, "%d is leader and candidate", n.id)
	if m.leading != nil && !(before.leads && before.term == m.term) {
		s.tracef("%d leads term %d", n.id, m.term)
		c.elections.elected(m)
		s.seen.elections++
		c.chosen.complete(m)
	}
	c.chosen.committed(s, m, min(m.commit, max(before.commit, m.log.base)))
	c.positions[n.id] = position{m.term, m.commit, m.applied, m.leading != nil, m.following}
}

// checkUncommitted compares a running sum with the sum.
func checkUncommitted(m *Machine) {
	bytes := int64(0)
	for i := range m.log.entries {
		bytes += m.log.entries[i].size()
	}
	check(bytes == m.log.bytes, "%d counts %d bytes of log, has %d", m.id, m.log.bytes, bytes)
	if m.leading == nil {
		return
	}
	bytes = 0
	for _, e := range m.log.slice(m.commit, m.log.last()) {
		bytes += e.size()
	}
	check(bytes == m.leading.uncommitted, "%d counts %d uncommitted bytes, has %d", m.id, m.leading.uncommitted, bytes)
}

// checkConfigs compares the configuration in force with what the log says.
func checkConfigs(m *Machine) {
	h := configHistory{[]configStep{m.configs.steps[0]}}
	check(h.steps[0].index <= m.log.base, "%d has no configuration at its base", m.id)
	h, err := h.extend(m.log.entries)
	check(err == nil && h.latest().Equal(m.configs.latest()), "%d has configuration %v, its log says %v",
		m.id, m.configs.latest(), h.latest())
}

// hardState checks what comes to disk: a vote once cast in a term stays.
func (c *checks) hardState(id MemberID, before, after HardState) {
	check(after.Term >= before.Term, "%d writes term %d after %d", id, after.Term, before.Term)
	check(after.Commit >= before.Commit, "%d writes commit %d after %d", id, after.Commit, before.Commit)
	if after.Term == before.Term && before.Vote != None {
		check(after.Vote == before.Vote, "%d votes twice in term %d", id, after.Term)
	}
}

// refusal checks that members in good order are not refused, but for answers that come when the sender has been removed.
func (c *checks) refusal(err error) {
	check(err == nil || errors.Is(err, ErrUnknownMember), "%v", err)
}

// electionSafety: at most one leader a term.
type electionSafety struct{ leaders map[Term]MemberID }

func (e *electionSafety) elected(m *Machine) {
	other, ok := e.leaders[m.term]
	check(!ok || other == m.id, "%d and %d both lead term %d", other, m.id, m.term)
	e.leaders[m.term] = m.id
}

// stateMachineSafety: one entry an index, on a quorum of disks when committed, and in the logs of all later leaders.
type stateMachineSafety struct{ entries []choice } // of index i+1

type choice struct {
	entry Entry
	by    Term // of the member that first knew
}

func (c *stateMachineSafety) committed(s *sim, m *Machine, from Index) {
	for i := from + 1; i <= m.commit; i++ {
		e := *m.log.at(i)
		if int(i) <= len(c.entries) {
			checkSame(c.entries[i-1].entry, e, m.id)
			continue
		}
		check(int(i) == len(c.entries)+1, "%d commits %d, but nobody %d", m.id, i, len(c.entries)+1)
		if e.Term == 1 {
			c.entries = append(c.entries, choice{e, e.Term}) // Bootstrap
			continue
		}
		check(m.leading != nil, "%d knows first of commit %d, but does not lead", m.id, i)
		c.entries = append(c.entries, choice{e, m.term})
		c.durable(s, m, e)
		if e.Type == EntryConfChange {
			s.seen.changes++
		}
	}
}

// durable counts the disks.
func (c *stateMachineSafety) durable(s *sim, m *Machine, e Entry) {
	disks, voters := 0, m.configs.latest().Voters
	for _, id := range voters {
		if s.nodes[id-1].disk.has(e.Index, e.Term) {
			disks++
		}
	}
	check(disks > len(voters)/2, "%d is committed, but on %d of %d disks", e.Index, disks, len(voters))
}

func (c *stateMachineSafety) complete(m *Machine) {
	for _, chosen := range c.entries {
		if e := chosen.entry; e.Index >= m.log.base && chosen.by < m.term {
			check(e.Index < m.log.last() && m.log.term(e.Index) == e.Term,
				"%d leads term %d without entry %d of term %d", m.id, m.term, e.Index, e.Term)
		}
	}
}

// applied checks an entry on its way into a state machine.
func (c *checks) applied(id MemberID, e Entry) {
	check(int(e.Index) <= len(c.chosen.entries), "%d applies %d, which is not committed", id, e.Index)
	checkSame(c.chosen.entries[e.Index-1].entry, e, id)
}

func checkSame(a, b Entry, id MemberID) {
	check(a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data),
		"entry %+v differs on %d: %+v", a, id, b)
}

// readSafety: a read's index includes all that was committed when it was asked for.
type readSafety struct {
	asked    map[uint64]Index
	answered map[uint64]bool
}

func (c *checks) readAsked(ctx uint64) { c.reads.asked[ctx] = Index(len(c.chosen.entries)) }

func (c *checks) readAnswered(r Read) {
	asked, ok := c.reads.asked[r.Ctx]
	check(ok, "read %d is answered, but was not asked, or was lost", r.Ctx)
	check(r.Index >= asked, "read %d is answered with %d, but %d was committed", r.Ctx, r.Index, asked)
	check(!c.reads.answered[r.Ctx], "read %d is answered twice", r.Ctx)
	c.reads.answered[r.Ctx] = true
}

func (c *checks) readLost(ctx uint64) {
	_, ok := c.reads.asked[ctx]
	check(ok && !c.reads.answered[ctx], "read %d is lost, but was answered or not asked", ctx)
	delete(c.reads.asked, ctx)
}

// logs checks what takes a walk over whole logs: what is summed up beside them, and log matching (two logs which agree at
// an index agree on all before it).
func (c *checks) logs(up []*simNode) {
	for i, a := range up {
		checkUncommitted(a.m)
		checkConfigs(a.m)
		for _, b := range up[:i] {
			checkMatching(a.m, b.m)
		}
	}
}

func checkMatching(a, b *Machine) {
	agree := false
	for i := min(a.log.last(), b.log.last()); i > max(a.log.base, b.log.base); i-- {
		if a.log.term(i) == b.log.term(i) {
			checkSame(*a.log.at(i), *b.log.at(i), b.id)
			agree = true
		} else {
			check(!agree, "logs of %d and %d part at %d, but agree behind it", a.id, b.id, i)
		}
	}
}
