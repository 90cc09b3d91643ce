package rafttest

import (
	"errors"
	"fmt"
	"slices"

	"canopy/raft"
)

// World is a cluster and all that is around it.
type World struct {
	options  Options
	founders []raft.ConfChange // of the first configuration
	nodes    []*node           // by id
	net      []message
	checks   checks
	sent     uint64 // messages so far
	reads    uint64 // asked so far
	seen     Counts
	story    func(string)
}

// link is a direction between two members.
type link struct{ from, to raft.MemberID }

// message is on its way.
type message struct {
	link
	number uint64 // of all messages
	body   raft.Message
	run    int // of the sender, when it was sent
	passed int // times that the generator could have delivered it
}

// node is a member: a machine, if it is up, and a disk.
type node struct {
	id      raft.MemberID
	m       *raft.Machine
	run     int
	draws   uint64 // of its random numbers
	disk    storage
	log     storage // as the machine has handed it out
	writes  []*raft.Write
	applies []raft.Work // only Install and Apply
	state   raft.Index  // of the state machine
	role    raft.SoftState
}

// NewWorld makes an empty world. story is told what is worth a line; it may be nil.
func NewWorld(o Options, story func(string)) *World {
	return &World{options: o, checks: newChecks(), story: story}
}

func (w *World) counts() Counts {
	w.seen.Clusters, w.seen.Entries = 1, len(w.checks.chosen)
	return w.seen
}

func (w *World) tell(format string, args ...any) {
	if w.story != nil {
		w.story(fmt.Sprintf(format, args...))
	}
}

// node gives a member, or nil.
func (w *World) node(id raft.MemberID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// Do carries out an event.
func (w *World) Do(e Event) {
	w.seen.Events++
	switch e.Op {
	case Begin:
		w.begin(e.member(0))
		return
	case Deliver, Double, Lose:
		w.move(e)
		return
	}
	n := w.node(e.member(0))
	switch {
	case n == nil:
	case e.Op == Start && n.m == nil:
		w.start(n)
	case e.Op == Forget && n.m == nil:
		n.disk = storage{}
		w.tell("%d forgets everything", n.id)
	case n.m == nil:
	default:
		w.doOn(n, e)
	}
}

// doOn carries out an event of a member that is up.
func (w *World) doOn(n *node, e Event) {
	switch e.Op {
	case Crash:
		w.crash(n, e.Args[1], e.Args[2])
		return
	case Tick:
		n.m.Tick()
	case Work:
		w.work(n)
	case Write:
		w.finishWrites(n, int(min(e.Args[1], uint64(len(n.writes)))))
	case Apply:
		w.apply(n)
	case Propose:
		w.propose(n, e.Args[1], e.Args[2])
	case Read:
		w.reads++
		if n.m.ReadIndex(w.reads) == nil {
			w.checks.asked(w.reads)
		}
	case Compact:
		w.compact(n, raft.Index(e.Args[1]))
	case Change:
		w.change(n, raft.ConfChange{Op: raft.ConfChangeOp(e.Args[1]), Member: e.member(2)})
	case Transfer:
		if err := n.m.TransferLeadership(e.member(1)); err == nil {
			w.tell("%d transfers to %d", n.id, e.member(1))
		}
	case Campaign:
		n.m.Campaign()
	}
	w.checks.machine(w, n, e.Op == Work)
}

// begin adds a member of the first configuration. All such events come before any other one.
func (w *World) begin(id raft.MemberID) {
	w.founders = append(w.founders, raft.ConfChange{Op: raft.AddVoter, Member: id})
	first, err := raft.Bootstrap(w.founders...)
	if err != nil {
		w.founders = w.founders[:len(w.founders)-1]
		return
	}
	w.nodes = append(w.nodes, &node{id: id})
	for _, n := range w.nodes {
		n.disk.hard, n.disk.entries = first.HardState, first.Entries
	}
}

// start runs a member with what is on its disk.
func (w *World) start(n *node) {
	n.run++
	rng := func(most int) int {
		n.draws++
		return int(mix(w.options.Seed, uint64(n.id), n.draws) % uint64(most))
	}
	m, err := raft.New(w.options.config(n.id, rng), raft.State{
		HardState: n.disk.hard, Snapshot: n.disk.snap, Entries: slices.Clone(n.disk.entries),
	})
	check(err == nil, "%d cannot restart: %v", n.id, err)
	n.m, n.state, n.role = m, n.disk.snap.Index, raft.SoftState{}
	n.log = storage{snap: n.disk.snap, entries: slices.Clone(n.disk.entries)}
	w.checks.started(n)
}

// mix draws a number from a seed and what it is for, so that events that are left out change nothing else (splitmix64).
func mix(seed uint64, what ...uint64) uint64 {
	x := seed
	for _, n := range what {
		x += n*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

// crash stops a member. Of the writes that were not finished the first few are on disk, and a part of the next.
func (w *World) crash(n *node, whole, records uint64) {
	w.tell("%d crashes", n.id)
	w.seen.Crashes++
	for i, write := range n.writes {
		if uint64(i) == whole {
			n.disk.tear(write, records)
			break
		}
		n.disk.write(write)
	}
	n.m, n.writes, n.applies = nil, nil, nil
}

// work takes a machine's work.
func (w *World) work(n *node) {
	for {
		work, ok := n.m.Work()
		if !ok {
			return
		}
		if work.Write != nil {
			n.writes = append(n.writes, work.Write)
			n.log.write(work.Write)
		}
		for _, out := range work.Send {
			check(out.To != n.id && out.To != raft.None, "%d sends %T to %d", n.id, out.Message, out.To)
			w.sent++
			w.net = append(w.net, message{link: link{n.id, out.To}, number: w.sent, body: out.Message, run: n.run})
		}
		if work.Install != nil || work.Apply != nil {
			n.applies = append(n.applies, work)
		}
		w.report(n, work)
		w.checks.answers(work)
		w.seen.Reads += len(work.Reads)
	}
}

// report tells the events that a reader wants to see.
func (w *World) report(n *node, work raft.Work) {
	if work.Soft != nil {
		switch {
		case work.Soft.Role == raft.Leader && n.role.Role != raft.Leader:
			w.tell("%d leads term %d", n.id, n.m.Status().Term)
		case work.Soft.Role != raft.Leader && n.role.Role == raft.Leader:
			w.tell("%d steps down", n.id)
		}
		n.role = *work.Soft
	}
	for _, r := range work.Reads {
		w.tell("%d may serve read %d at %d", n.id, r.Ctx, r.Index)
	}
}

func (w *World) finishWrites(n *node, count int) {
	if count == 0 {
		return
	}
	for _, write := range n.writes[:count] {
		before := n.disk.hard
		n.disk.write(write)
		w.checks.hardState(n.id, before, n.disk.hard)
	}
	seq := n.writes[count-1].Seq
	n.writes = n.writes[count:]
	n.m.Durable(seq)
}

// apply hands a batch to the state machine.
func (w *World) apply(n *node) {
	if len(n.applies) == 0 {
		return
	}
	work := n.applies[0]
	n.applies = n.applies[1:]
	if work.Install != nil {
		check(work.Install.Index > n.state, "%d installs %d over %d", n.id, work.Install.Index, n.state)
		n.state = work.Install.Index
		w.seen.Installs++
		w.tell("%d installs the snapshot at %d", n.id, n.state)
	}
	for _, e := range work.Apply {
		check(e.Index == n.state+1, "%d applies %d after %d", n.id, e.Index, n.state)
		check(n.disk.has(e.Index, e.Term), "%d applies %d, which is not on its disk", n.id, e.Index)
		w.checks.applied(n.id, e)
		n.state = e.Index
	}
	n.m.Applied(n.state)
}

func (w *World) propose(n *node, entries, bytes uint64) {
	batch := make([][]byte, min(entries, 64))
	for i := range batch {
		batch[i] = fmt.Appendf(nil, "%0*d", min(bytes, 1<<14), w.seen.Events*100+i)
	}
	_, _, err := n.m.Propose(batch...)
	check(err != nil || n.m.Status().Role == raft.Leader, "%d takes proposals, and does not lead", n.id)
}

// compact takes a snapshot of a state machine, and forgets the log but for a few entries.
func (w *World) compact(n *node, keep raft.Index) {
	at := min(n.state, n.m.Status().Applied)
	meta, err := n.m.SnapshotMeta(at)
	if err != nil || at <= n.disk.snap.Index {
		return
	}
	n.disk.entries = slices.Clone(n.disk.entries[at-n.disk.snap.Index:])
	n.disk.snap = meta
	err = n.m.Compact(meta, at+1-min(at, keep))
	check(err == nil, "%d cannot compact at %d: %v", n.id, at, err)
	w.tell("%d has a snapshot at %d", n.id, at)
}

// change proposes a change of the members. One that is added starts at once, with nothing.
func (w *World) change(n *node, c raft.ConfChange) {
	at, term, err := n.m.ProposeConfChange(c)
	if err != nil {
		return
	}
	w.tell("%d proposes to %v %d, entry %d of term %d", n.id, c.Op, c.Member, at, term)
	if w.node(c.Member) == nil {
		joiner := &node{id: c.Member}
		w.nodes = append(w.nodes, joiner)
		w.start(joiner)
	}
}

// move delivers, doubles or loses a message.
func (w *World) move(e Event) {
	on := link{e.member(0), e.member(1)}
	at := w.find(on, e.Args[2])
	if at < 0 {
		return
	}
	m := w.net[at]
	if e.Op != Double {
		w.net = slices.Delete(w.net, at, at+1)
	}
	to := w.node(on.to)
	arrived := e.Op != Lose && to != nil && to.m != nil
	if arrived {
		err := to.m.Step(on.from, m.body)
		check(err == nil || errors.Is(err, raft.ErrUnknownMember), "%v", err) // from who was removed, that is
		arrived = err == nil
		w.checks.machine(w, to, false)
	}
	from := w.node(on.from)
	if _, is := m.body.(raft.Snapshot); is && from.m != nil && from.run == m.run {
		from.m.SnapshotSent(on.to, arrived)
		w.checks.machine(w, from, false)
	}
}

// find is the reverse of place: an index of net, or -1.
func (w *World) find(on link, place uint64) int {
	for i := range w.net {
		if w.net[i].link != on {
			continue
		}
		if place == 0 {
			return i
		}
		place--
	}
	return -1
}

// place says where a message is among those of its link; false if it is gone.
func (w *World) place(m message) (uint64, bool) {
	before := uint64(0)
	for i := range w.net {
		if w.net[i].number == m.number {
			return before, true
		}
		if w.net[i].link == m.link {
			before++
		}
	}
	return 0, false
}

// up gives the running members.
func (w *World) up() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return n.m == nil })
}

// leader gives the member that leads the highest term, or nil.
func (w *World) leader() *node {
	var leader *node
	for _, n := range w.up() {
		if s := n.m.Status(); s.Role == raft.Leader && (leader == nil || s.Term > leader.m.Status().Term) {
			leader = n
		}
	}
	return leader
}

// String is a line a member, for people.
func (w *World) String() string {
	text := ""
	for _, n := range w.nodes {
		if n.m == nil {
			text += fmt.Sprintf("\n%d is down", n.id)
			continue
		}
		s := n.m.Status()
		text += fmt.Sprintf("\n%d %v term=%d commit=%d last=%d applied=%d leader=%d voters=%v learners=%v",
			n.id, s.Role, s.Term, s.Commit, s.Last, n.state, s.Leader, s.Configuration.Voters, s.Configuration.Learners)
	}
	return text
}
