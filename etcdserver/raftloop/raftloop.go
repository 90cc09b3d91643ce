// Package raftloop runs the raft machine of a member.
//
//	requests, changes, reads ──▶      ┌──▶ log writer, and what is durable ──▶ Loop
//	messages, ticks, deadlines ──▶ Loop ──▶ apply loop
//	                                  └──▶ other members
//
// A Loop alone calls the machine. It moves work between channels, and never waits for a
// disk, a peer or the store. On the leader it stamps requests with log time and proposes
// them; elsewhere it forwards them to the leader.
//
//	propose.go   requests on their way into the log
//	changes.go   changes of the membership; judge.go, which of them are refused
//	reads.go     linearizable reads
//	handover.go  leadership goes to another member
//	snapshot.go  a state that is received
//	front.go     what other goroutines may call
package raftloop

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// Limits of the raft loop's queues.
const (
	proposalQueue = 16 * 1024 // requests from this process, or other members, to the loop
	HeldMax       = 16 * 1024 // default of Limits.Held
	readQueue     = 4096      // linearizable reads on their way to the loop
	callQueue     = 65536     // rare things asked of the loop
	inboundQueue  = 64        // batches of messages; a full queue lets the streams wait

	proposalBytes  = 256 << 20 // of requests in proposalQueue
	heldForeignMax = 64 << 20  // bytes of other members' requests among those held
	inboundBytes   = 64 << 20  // of entries in inboundQueue
)

// Transport carries messages to other members. Its methods return at once.
type Transport interface {
	Send(out []raft.Outbound)
	SendEnvelope(to raft.MemberID, envelope []byte) bool // false: it was not even queued
}

// Events are told what happens, in the loop. They return at once.
type Events interface {
	LeaderChanged(leader raft.MemberID, role raft.Role, term raft.Term)
	StatusChanged(raft.Status)                              // at each tick
	SnapshotNeeded(to raft.MemberID, message raft.Snapshot) // a member is to be sent a snapshot
	MessageRefused(err error)                               // of another member
	ChangeUnreadable(from replica.ID, err error)
	PeerURLTaken(owner replica.ID, urls []string) // a change is refused for that
	RiskyChange(err error)                        // it is made although it endangers the quorum
	LeadershipYielded()                           // this member's disk is full
}

// Options say what a Loop works with.
type Options struct {
	Self       replica.ID
	Machine    *raft.Machine
	Clock      *logclock.Clock
	Interval   time.Duration // of one tick
	CheckEvery time.Duration // between comparisons of the members' states
	Policy     Policy
	Limits     Limits
	Pending    *pending.List
	Transport  Transport
	Writer     *logwriter.Front
	Apply      *applier.Front
	Events     Events
	Generation raft.Index      // applied when entries were last forgotten
	Handed     int64           // bytes of entries handed to the apply loop since then
	Stopped    <-chan struct{} // closed when the member has stopped
}

// Limits bound what is held. Zero fields have the defaults.
type Limits struct {
	Proposals int   // requests on their way to the loop; default 16 Ki
	Held      int   // requests held until the leader takes more; default 16 Ki
	KeepBytes int64 // of entries in one generation that is kept for slow followers; default 32 MiB
}

// Loop owns the raft machine. Only the goroutine of Run calls its other methods; what
// other goroutines ask for it runs as calls of its Front.
type Loop struct {
	self      replica.ID
	machine   *raft.Machine
	clock     *logclock.Clock
	interval  time.Duration // of one tick
	policy    Policy
	events    Events
	pending   *pending.List
	transport Transport
	writer    *logwriter.Front
	apply     *applier.Front
	front     *Front

	toWrite []raft.Write
	toApply applier.Work
	stamped store.Time // the latest that the log's entries have

	leader    replica.ID
	leading   bool
	term      raft.Term // of the two above
	requests  requestQueue
	changes   changeQueue
	reads     reads
	followers *Followers

	keepBytes  int64                 // of entries in a generation
	generation raft.Index            // applied when entries were last forgotten
	handed     int64                 // bytes of entries handed to the apply loop since then
	prepared   *applier.Installation // the state of the snapshot that raft has taken last
	installing raft.Index            // of the last one that was handed to the apply loop
}

// New makes a Loop that is not running.
func New(o Options) *Loop {
	front := newFront(o)
	return &Loop{
		self: o.Self, machine: o.Machine, clock: o.Clock, interval: o.Interval, policy: o.Policy, events: o.Events,
		pending: o.Pending, transport: o.Transport, writer: o.Writer, apply: o.Apply, front: front,
		requests:   requestQueue{heldMax: cmp.Or(o.Limits.Held, HeldMax), checkTicks: int(o.CheckEvery / o.Interval)},
		reads:      reads{machine: o.Machine, under: map[uint64][]readRequest{}},
		followers:  front.followers,
		generation: o.Generation, handed: o.Handed, keepBytes: cmp.Or(o.Limits.KeepBytes, datadir.KeepBytes),
	}
}

// Front is for the other goroutines.
func (l *Loop) Front() *Front { return l.front }

// Run works until ctx ends, whose error it returns then, or until the machine finds a
// fault in what it was told.
func (l *Loop) Run(ctx context.Context) error {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	l.requests.expiry = time.NewTimer(time.Hour)
	defer l.requests.expiry.Stop()
	for {
		if err := l.drive(); err != nil {
			return err
		}
		if err := l.wait(ctx, ticker.C); err != nil {
			return err
		}
	}
}

// wait takes one input, and whatever else of its kind is there.
func (l *Loop) wait(ctx context.Context, tick <-chan time.Time) error {
	writes, applies := l.takers()
	if l.doUrgent(writes, applies, tick) {
		return nil
	}
	proposals := l.front.proposals.Wake()
	if writes != nil {
		proposals = nil // more of them make one batch while the disk is busy
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-proposals:
		runtime.Gosched() // others that are about to propose share the batch
		l.propose()
	case in := <-l.front.inbound:
		l.receive(in)
	case seq := <-l.writer.Durable():
		l.machine.Durable(seq)
	case writes <- l.toWrite:
		l.toWrite = nil
	case applies <- l.toApply:
		l.toApply = applier.Work{}
	case <-l.front.reads.Wake():
		runtime.Gosched()
		l.read()
	case <-l.apply.DeadlineChanged():
		l.setExpiry()
	case <-l.requests.expiry.C:
		l.requests.tickOwed = true
		l.proposeOwed()
	case <-l.front.calls.Wake():
		l.call()
	case <-tick:
		l.tick()
	}
	return nil
}

// takers are the channels that work can be handed to; nil if there is none.
func (l *Loop) takers() (writes chan<- []raft.Write, applies chan<- applier.Work) {
	if len(l.toWrite) > 0 {
		writes = l.writer.Batches()
	}
	if !l.toApply.Empty() {
		applies = l.apply.Batches()
	}
	return writes, applies
}

// doUrgent does first what must not wait and cannot delay the rest for long: work that
// has a taker, reports of the disk, and ticks. A fixed order also lets a simulation be
// replayed.
func (l *Loop) doUrgent(writes chan<- []raft.Write, applies chan<- applier.Work, tick <-chan time.Time) bool {
	select {
	case writes <- l.toWrite:
		l.toWrite = nil
		return true
	default:
	}
	select {
	case applies <- l.toApply:
		l.toApply = applier.Work{}
		return true
	default:
	}
	select {
	case seq := <-l.writer.Durable():
		l.machine.Durable(seq)
		return true
	default:
	}
	select {
	case <-tick:
		l.tick()
		return true
	default:
		return false
	}
}

// call runs what other goroutines asked for.
func (l *Loop) call() {
	for _, each := range l.front.calls.Take(nil) {
		each(l)
	}
}

// read begins a batch of all linearizable reads that are waiting.
func (l *Loop) read() {
	l.reads.taken = l.front.reads.Take(l.reads.taken)
	l.reads.next = append(l.reads.next, l.reads.taken...)
	l.reads.begin()
}

func (l *Loop) tick() {
	l.machine.Tick()
	status := l.machine.Status()
	l.events.StatusChanged(status)
	l.tickRequests()
	l.tickChanges(status)
	l.yieldOnFullDisk()
	l.reads.begin()
}

// receive steps messages, and those that arrived in the meantime.
func (l *Loop) receive(in inbound) {
	for n := 0; ; n++ {
		for _, message := range in.messages {
			switch m := message.(type) {
			case raft.AppendReply:
				l.followers.acknowledged(in.from, m.Match, time.Now())
			case raft.Append:
				l.followers.received(m, time.Now())
			}
			if err := l.machine.Step(in.from, message); err != nil {
				l.events.MessageRefused(err)
			}
		}
		l.front.room.Release(in.bytes)
		if n == inboundQueue {
			return
		}
		select {
		case in = <-l.front.inbound:
		default:
			return
		}
	}
}

// drive hands out all the work that the machine has. Changes are tried when
// there is none left: then the loop knows whether it leads.
func (l *Loop) drive() error {
	applied := l.apply.Present() // once: the apply loop goes on meanwhile
	l.machine.Applied(applied.Index)
	if err := l.forget(applied); err != nil {
		return err
	}
	l.drain()
	l.tryChanges()
	l.drain()
	return nil
}

func (l *Loop) drain() {
	for {
		work, ok := l.machine.Work()
		if !ok {
			return
		}
		l.hand(work)
	}
}

func (l *Loop) hand(work raft.Work) {
	if work.Write != nil {
		l.toWrite = append(l.toWrite, *work.Write)
		for _, e := range work.Write.Entries {
			if t := pending.TimeOf(e); t > l.stamped {
				l.stamped = t
				l.clock.Observe(t) // should this member lead next, its own come after
			}
		}
	}
	if work.Install != nil {
		l.install(*work.Install)
	}
	if len(l.toApply.Entries) == 0 {
		l.toApply.Entries = slices.Clip(work.Apply) // the log's own, which keeps it
	} else {
		l.toApply.Entries = append(l.toApply.Entries, work.Apply...)
	}
	for i := range work.Apply {
		l.handed += int64(len(work.Apply[i].Data))
	}
	if len(work.Send) > 0 {
		l.send(work.Send)
	}
	if work.Soft != nil {
		l.leaderChanged(*work.Soft)
	}
	l.reads.answer(work.Reads, work.LostReads)
}

// send gives messages to the transport; a snapshot goes its own way.
func (l *Loop) send(out []raft.Outbound) {
	kept := out[:0:0]
	for i, each := range out {
		switch message := each.Message.(type) {
		case raft.Snapshot:
			if len(kept) == 0 {
				kept = append(make([]raft.Outbound, 0, len(out)), out[:i]...)
			}
			l.events.SnapshotNeeded(each.To, message)
			continue
		case raft.Append:
			l.followers.sent(each.To, message, time.Now())
		}
		if kept != nil {
			kept = append(kept, each)
		}
	}
	if kept == nil {
		kept = out
	}
	l.transport.Send(kept)
}

// leaderChanged records who takes requests from now on. All pending requests are proposed
// again: the results of those that the former leader had are unknown. That is so, too, if
// the same member was elected again.
func (l *Loop) leaderChanged(s raft.SoftState) {
	status := l.machine.Status()
	was, before, another := l.leading, l.leader, s.Term != l.term
	l.leading, l.leader, l.term = s.Role == raft.Leader, replica.ID(s.Leader), s.Term
	l.events.LeaderChanged(s.Leader, s.Role, s.Term)
	l.events.StatusChanged(status)
	if was && (another || !l.leading) {
		l.giveBackChanges()
		l.followers.clear()
	}
	if l.leading && (another || !was) {
		l.requests.openingOwed, l.changes.tenure = true, 0
		l.changes.last = status.Last + 1 // the entry that opens the term: earlier changes are applied then
		l.proposeOwed()
		l.setExpiry()
	}
	if l.leader != 0 && (another || l.leader != before) {
		l.proposeAgain()
	}
	l.reads.begin()
}

// forget removes applied entries from memory, a generation at a time: those that were
// applied since the last time are kept. The others stay in the write-ahead
// log; a follower that needs them gets a snapshot.
func (l *Loop) forget(state *replica.Head) error {
	full := state.Index >= l.generation+raft.Index(datadir.KeepEntries(state)) || l.handed >= l.keepBytes
	if !full || state.Index <= l.generation || state.Index < l.installing {
		return nil
	}
	keepFrom := l.generation + 1
	l.generation, l.handed = state.Index, 0
	return l.machine.Compact(state.RaftMeta(), keepFrom)
}

// assert stops the process when one of our own invariants is broken.
func assert(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("raftloop: "+format, args...))
	}
}
