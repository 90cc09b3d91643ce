package raft

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// collect takes a member's work; its disk and state machine do theirs at once unless the disk is held.
func (s *cluster) collect(a *node) {
	for {
		w, ok := a.m.Work()
		if !ok && (a.held || len(a.writes) == 0) {
			return
		}
		s.printEvents(a, w)
		if w.Write != nil {
			a.writes = append(a.writes, w.Write)
		}
		for _, out := range w.Send {
			s.net = append(s.net, sentMessage{a.id, out.To, out.Message})
		}
		for !a.held && len(a.writes) > 0 {
			a.disk.write(a.writes[0])
			a.m.Durable(a.writes[0].Seq)
			a.writes = a.writes[1:]
		}
		if w.Install != nil {
			a.state = w.Install.Index
		}
		if n := len(w.Apply); n > 0 {
			a.state = w.Apply[n-1].Index
		}
		a.m.Applied(a.state)
	}
}

// printEvents prints the events that a reader wants to see.
func (s *cluster) printEvents(a *node, w Work) {
	if w.Soft != nil {
		if w.Soft.Role == Leader {
			fmt.Fprintf(&s.out, "%d leads term %d\n", a.id, a.m.term)
		} else if a.role.Role == Leader {
			fmt.Fprintf(&s.out, "%d steps down\n", a.id)
		}
		a.role = *w.Soft
	}
	if w.Install != nil {
		fmt.Fprintf(&s.out, "%d installs snapshot %d\n", a.id, w.Install.Index)
	}
	for _, r := range w.Reads {
		fmt.Fprintf(&s.out, "%d may serve read %d at index %d\n", a.id, r.Ctx, r.Index)
	}
	for _, ctx := range w.LostReads {
		fmt.Fprintf(&s.out, "%d lost read %d\n", a.id, ctx)
	}
}

// run delivers messages until none is left.
func (s *cluster) run() {
	for range 10_000 {
		if len(s.net) == 0 {
			return
		}
		p := s.net[0]
		s.net = s.net[1:]
		s.deliver(p)
	}
	fmt.Fprintln(&s.out, "messages never end")
}

// deliverTo delivers the messages to one member only.
func (s *cluster) deliverTo(a *node) {
	net := s.net
	s.net = nil
	for _, p := range net {
		if p.to == a.id {
			s.deliver(p)
		} else {
			s.net = append(s.net, p)
		}
	}
}

func (s *cluster) deliver(p sentMessage) {
	from, to := s.actors[p.from], s.actors[p.to]
	ok := to != nil && to.m != nil && !s.cut[[2]MemberID{p.from, p.to}]
	if s.trace {
		lost := map[bool]string{false: " (lost)"}[ok]
		fmt.Fprintf(&s.out, "%d>%d %s%s\n", p.from, p.to, describe(p.msg), lost)
	}
	if ok {
		if err := to.m.Step(p.from, p.msg); err != nil {
			ok = false
			fmt.Fprintln(&s.out, err)
		}
		s.collect(to)
	}
	if _, is := p.msg.(Snapshot); is && from.m != nil {
		from.m.SnapshotSent(p.to, ok)
		s.collect(from)
	}
}

// ids gives the members in order.
func (s *cluster) ids() []MemberID {
	var ids []MemberID
	for id := range s.actors {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// show prints a line a member.
func (s *cluster) show() {
	for _, id := range s.ids() {
		a := s.actors[id]
		if a.m == nil {
			fmt.Fprintf(&s.out, "%d down\n", id)
			continue
		}
		st := a.m.Status()
		fmt.Fprintf(&s.out, "%d %v term=%d commit=%d last=%d", id, st.Role, st.Term, st.Commit, st.Last)
		if st.Durable < st.Last {
			fmt.Fprintf(&s.out, " durable=%d", st.Durable)
		}
		if st.Leader != None && st.Leader != id {
			fmt.Fprintf(&s.out, " leader=%d", st.Leader)
		}
		if st.Applied < st.Commit {
			fmt.Fprintf(&s.out, " applied=%d", st.Applied)
		}
		fmt.Fprintln(&s.out)
	}
}

// log prints entries as index:term, with their data or change of configuration, and the configuration in force.
func (s *cluster) log(t *testing.T, args []string) {
	for _, arg := range args {
		m := s.actors[s.id(t, arg)].m
		fmt.Fprintf(&s.out, "%d", m.id)
		if m.log.Base() > 0 {
			fmt.Fprintf(&s.out, " snapshot=%d:%d", m.log.Base(), m.log.BaseTerm())
		}
		for _, e := range m.log.Slice(m.log.Base(), m.log.Last()) {
			fmt.Fprintf(&s.out, " %d:%d", e.Index, e.Term)
			if change, err := DecodeConfChange(e.Data); e.Type == EntryConfChange && err == nil {
				fmt.Fprintf(&s.out, "=%v(%d)", change.Op, change.Member)
			} else if len(e.Data) > 0 {
				fmt.Fprintf(&s.out, "=%s", e.Data)
			}
		}
		c := m.Configuration()
		fmt.Fprintf(&s.out, "\n  voters=%v", c.Voters)
		if len(c.Learners) > 0 {
			fmt.Fprintf(&s.out, " learners=%v", c.Learners)
		}
		fmt.Fprintln(&s.out)
	}
}

func (s *cluster) progress(t *testing.T, args []string) {
	for _, p := range s.actors[s.id(t, args[0])].m.Status().Progress {
		fmt.Fprintf(&s.out, "%d %s match=%d next=%d inflight=%d\n", p.ID, p.Mode, p.Match, p.Next, p.InflightMessages)
	}
}

// describe prints a message on one line.
func describe(msg Message) string {
	switch msg := msg.(type) {
	case Append:
		var b strings.Builder
		fmt.Fprintf(&b, "Append term=%d prev=%d:%d commit=%d", msg.Term, msg.PrevIndex, msg.PrevTerm, msg.Commit)
		for _, e := range msg.Entries {
			fmt.Fprintf(&b, " %d:%d", e.Index, e.Term)
		}
		return b.String()
	case Snapshot:
		return fmt.Sprintf("Snapshot term=%d at=%d:%d voters=%v", msg.Term, msg.Meta.Index, msg.Meta.Term, msg.Meta.Configuration.Voters)
	}
	return name(msg) + fmt.Sprintf("%+v", msg)
}
