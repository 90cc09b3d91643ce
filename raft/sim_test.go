package raft

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

// The simulation runs whole clusters. One seed decides everything. The fault model:
//
//   - messages are lost, delayed, doubled, reordered; links are cut one way or both ways, and heal;
//   - writes finish late; a crash loses any last part of those which are unfinished, down to single entries;
//   - members crash and restart with what their disk has; the state machine lags behind what it is handed;
//   - members are added, promoted and removed, leadership is transferred, logs are compacted, reads are asked of anybody;
//   - ticks come at different speed.
//
// Not modelled: disks that lose what they confirmed, members that lie (see FuzzStep), ids used twice.
var (
	simSeed     = flag.Uint64("seed", 0, "run the simulation of this seed only")
	simClusters = flag.Int("clusters", 0, "simulate so many clusters, however long it takes; 0: for some seconds")
	simVerbose  = flag.Bool("story", false, "print each event of the simulation")
)

const (
	simSeconds = 6
	simRounds  = 400  // with faults
	simCalm    = 1500 // without, at most, until all is well
	simElders  = 5    // members of the first configuration, at most
	simMembers = 12   // ids ever used, at most
	simAge     = 60   // rounds after which a message is lost for good
)

func TestSimulatedClustersStaySafeAndRecover(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	first := rand.Uint64() >> 20
	end := time.Now().Add(simSeconds * time.Second)
	var all seen
	for all.clusters < *simClusters || *simClusters == 0 && time.Now().Before(end) {
		all.add(simulate(t, first+uint64(all.clusters)))
	}
	t.Logf("seeds from %d on: %+v", first, all)
}

// seen counts what happened, to show that a simulation is not idle.
type seen struct{ clusters, elections, entries, changes, reads, installs int }

func (a *seen) add(b seen) {
	a.clusters++
	a.elections += b.elections
	a.entries += b.entries
	a.changes += b.changes
	a.reads += b.reads
	a.installs += b.installs
}

func simulate(t *testing.T, seed uint64) seen {
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("replay with -seed=%d: %v\n%s", seed, r, debug.Stack())
		}
	}()
	s := newSim(seed)
	for range simRounds {
		s.faults()
		s.clients()
		s.round()
	}
	s.calm()
	s.seen.entries = len(s.checks.chosen.entries)
	return s.seen
}

// sim is one cluster and its world.
type sim struct {
	*rand.Rand
	nodes   []*simNode // by id-1
	net     []simMessage
	cut     map[[2]MemberID]bool // from, to
	age     int
	loss    int // per cent
	speed   int // per cent of messages that arrive in a round
	options Config
	checks  checks
	reads   uint64
	acked   int
	seen    seen
}

type simMessage struct {
	from, to MemberID
	msg      Message
	born     int
	life     int // of the sender, when it was sent
}

// simNode is a member: a machine, if it is up, and a disk.
type simNode struct {
	id      MemberID
	m       *Machine
	life    int
	disk    simDisk
	writes  []*Write
	applies []Work // only Install and Apply
	state   Index  // of the state machine
	slow    bool   // its disk
}

type simDisk struct {
	hard    HardState
	snap    SnapshotMeta
	entries []Entry // behind snap
}

func newSim(seed uint64) *sim {
	s := &sim{Rand: rand.New(rand.NewPCG(seed, 7)), cut: map[[2]MemberID]bool{}, speed: 90}
	s.checks = newChecks()
	s.options = Config{
		ElectionTicks: 10, HeartbeatTicks: 1 + s.IntN(2),
		NoPreVote: s.IntN(8) == 0, NoCheckQuorum: s.IntN(8) == 0,
		MaxInflightMessages: 1 + s.IntN(6), MaxInflightBytes: int64(300 + s.IntN(3000)),
		MaxMessageBytes: int64(70 + s.IntN(1000)), MaxUncommittedBytes: int64(1000 + s.IntN(20000)),
		MaxRetainedBytes: int64(s.IntN(10000)),
		Dice:             s.IntN,
	}
	var elders []ConfChange
	for id := range MemberID(1 + s.IntN(simElders)) {
		elders = append(elders, ConfChange{Op: AddVoter, Member: id + 1})
	}
	first, err := Bootstrap(elders...)
	check(err == nil, "bootstrap: %v", err)
	for _, elder := range elders {
		n := &simNode{id: elder.Member}
		n.disk.hard, n.disk.entries = first.HardState, first.Entries
		s.nodes = append(s.nodes, n)
		s.start(n)
	}
	return s
}

func (s *sim) tracef(format string, args ...any) {
	if *simVerbose {
		fmt.Printf("%4d %s\n", s.age, fmt.Sprintf(format, args...))
	}
}

// start runs a member on what its disk has.
func (s *sim) start(n *simNode) {
	c := s.options
	c.ID = n.id
	m, err := New(c, State{n.disk.hard, n.disk.snap, slices.Clone(n.disk.entries)})
	check(err == nil, "restart of %d: %v", n.id, err)
	n.m, n.state = m, n.disk.snap.Index
	n.life++
	s.tracef("%d starts, term %d, log (%d, %d]", n.id, m.term, m.log.base, m.log.last())
	s.checks.started(n)
}

// crash stops a member, and loses a last part of the writes that were not finished.
func (s *sim) crash(n *simNode) {
	s.tracef("%d crashes", n.id)
	n.m = nil
	for _, w := range n.writes {
		if s.IntN(3) == 0 {
			n.disk.tear(w, s.Rand)
			break
		}
		n.disk.write(w)
	}
	n.writes, n.applies = nil, nil
}

func (d *simDisk) write(w *Write) {
	if w.Snapshot != nil {
		d.snap, d.entries = *w.Snapshot, nil
	}
	if len(w.Entries) > 0 {
		d.append(w.Entries)
	}
	if w.HardState != nil {
		d.hard = *w.HardState
	}
}

// tear writes a first part of w.
func (d *simDisk) tear(w *Write, r *rand.Rand) {
	part := *w
	part.HardState = nil
	part.Entries = w.Entries[:r.IntN(len(w.Entries)+1)]
	if len(part.Entries) == 0 && r.IntN(2) == 0 {
		part.Snapshot = nil
	}
	d.write(&part)
}

func (d *simDisk) append(entries []Entry) {
	first := entries[0].Index
	check(first > d.snap.Index && first <= d.last()+1, "write of %d, disk has (%d, %d]", first, d.snap.Index, d.last())
	d.entries = append(slices.Clone(d.entries[:first-d.snap.Index-1]), entries...)
}

func (d *simDisk) last() Index { return d.snap.Index + Index(len(d.entries)) }

func (d *simDisk) has(i Index, t Term) bool {
	if i <= d.snap.Index {
		return true
	}
	return i <= d.last() && d.entries[i-d.snap.Index-1].Term == t
}

// up gives the running members.
func (s *sim) up() []*simNode {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n *simNode) bool { return n.m == nil })
}

func (s *sim) anyUp() *simNode {
	if up := s.up(); len(up) > 0 {
		return up[s.IntN(len(up))]
	}
	return nil
}

// round lets time pass: ticks, messages, disks and state machines, in random order.
func (s *sim) round() {
	s.age++
	for _, n := range s.up() {
		if s.IntN(10) > 0 {
			n.m.Tick()
			s.collect(n)
		}
	}
	for range 3 {
		s.deliver()
		for _, n := range s.up() {
			s.finishWrites(n)
			s.apply(n)
			s.collect(n)
		}
	}
	if s.age%4 == 0 {
		s.checks.logs(s.up())
	}
}

// collect takes a machine's work, now or later.
func (s *sim) collect(n *simNode) {
	s.checks.machine(s, n)
	if s.IntN(5) == 0 {
		return
	}
	for {
		w, ok := n.m.Work()
		s.checks.machine(s, n)
		if !ok {
			return
		}
		if w.Write != nil {
			n.writes = append(n.writes, w.Write)
		}
		for _, out := range w.Send {
			check(out.To != n.id && out.To != None, "%d sends %T to %d", n.id, out.Message, out.To)
			s.net = append(s.net, simMessage{n.id, out.To, out.Message, s.age, n.life})
		}
		if w.Install != nil || w.Apply != nil {
			n.applies = append(n.applies, w)
		}
		s.seen.reads += len(w.Reads)
		for _, r := range w.Reads {
			s.checks.readAnswered(r)
		}
		for _, ctx := range w.LostReads {
			s.checks.readLost(ctx)
		}
	}
}

func (s *sim) finishWrites(n *simNode) {
	if len(n.writes) == 0 || n.slow && s.IntN(10) > 0 || s.IntN(3) == 0 {
		return
	}
	done := 1 + s.IntN(len(n.writes))
	for _, w := range n.writes[:done] {
		before := n.disk.hard
		n.disk.write(w)
		s.checks.hardState(n.id, before, n.disk.hard)
	}
	seq := n.writes[done-1].Seq
	n.writes = n.writes[done:]
	n.m.Durable(seq)
	s.collect(n)
}

func (s *sim) apply(n *simNode) {
	for len(n.applies) > 0 && s.IntN(3) > 0 {
		w := n.applies[0]
		n.applies = n.applies[1:]
		if w.Install != nil {
			check(w.Install.Index > n.state, "%d installs %d over %d", n.id, w.Install.Index, n.state)
			n.state = w.Install.Index
			s.seen.installs++
		}
		for _, e := range w.Apply {
			check(e.Index == n.state+1, "%d applies %d after %d", n.id, e.Index, n.state)
			check(n.disk.has(e.Index, e.Term), "%d applies %d, which is not on its disk", n.id, e.Index)
			s.checks.applied(n.id, e)
			n.state = e.Index
		}
		n.m.Applied(n.state)
		s.collect(n)
	}
}

// deliver brings some of the messages, in any order.
func (s *sim) deliver() {
	s.Shuffle(len(s.net), func(i, k int) { s.net[i], s.net[k] = s.net[k], s.net[i] })
	net := s.net
	s.net = nil
	for _, p := range net {
		lost := s.cut[[2]MemberID{p.from, p.to}] || s.IntN(100) < s.loss || s.age-p.born > simAge
		switch {
		case lost:
			s.reportSnapshot(p, false)
		case s.IntN(100) >= s.speed:
			s.net = append(s.net, p)
		default:
			if s.loss > 0 && s.IntN(20) == 0 {
				s.net = append(s.net, p)
			}
			s.deliverOne(p)
		}
	}
}

func (s *sim) deliverOne(p simMessage) {
	n := s.nodes[p.to-1]
	if n.m == nil {
		s.reportSnapshot(p, false)
		return
	}
	s.tracef("%d -> %d %T%+v", p.from, p.to, p.msg, p.msg)
	err := n.m.Step(p.from, p.msg)
	s.checks.refusal(err)
	s.collect(n)
	s.reportSnapshot(p, err == nil)
}

// reportSnapshot tells the sender what became of a snapshot.
func (s *sim) reportSnapshot(p simMessage, ok bool) {
	from := s.nodes[p.from-1]
	if _, is := p.msg.(Snapshot); is && from.m != nil && from.life == p.life {
		from.m.SnapshotSent(p.to, ok)
		s.collect(from)
	}
}
