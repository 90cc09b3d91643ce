package etcdserver

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// Limits of the raft loop's queues.
const (
	proposalQueue = 16 * 1024 // requests between the door, or other members, and the loop
	heldMax       = 16 * 1024 // requests held until the leader takes more
	readQueue     = 4096      // linearizable reads between the door and the loop
	callQueue     = 65536     // rare things asked of the loop
	orderQueue    = 64        // snapshots to be sent
	inboundQueue  = 64        // batches of messages; a full queue lets the streams wait

	proposalBytes  = 256 << 20 // of requests in proposalQueue
	heldForeignMax = 64 << 20  // bytes of other members' requests among those held
	inboundBytes   = 64 << 20  // of entries in inboundQueue
)

// readRequest asks for an index that is safe to read at.
type readRequest struct {
	index chan raft.Index // has room for the one answer
	gone  <-chan struct{} // closed when nobody waits for it any more
}

func (r readRequest) abandoned() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

// inbound is what came from another member at once.
type inbound struct {
	from     raft.MemberID
	messages []raft.Message
	bytes    int64 // of entries in them, as far as they count
}

// raftLoop owns the raft machine: it alone calls it. It moves work between
// channels and never waits for a disk, a peer or the store.
//
//	requests   propose.go       reads  linearizable.go
//	changes    reconfigure.go   this file: the loop, and where work goes
type raftLoop struct {
	self     ID
	machine  *raft.Machine
	clock    *logClock
	interval time.Duration // of one tick
	policy   changePolicy
	observer *Observer
	events   loopEvents
	waiters  *waiters
	peers    Transport
	log      memberLog

	proposals *inbox[proposal]
	reads     *inbox[readRequest]
	calls     *inbox[func()] // run in the loop
	inbound   chan inbound
	room      *semaphore.Weighted // for entries in inbound
	writer    *logWriter
	apply     *applyLoop

	toWrite []raft.Write
	toApply applyWork
	stamped store.Time // the latest that the log's entries have

	leader    ID
	leading   bool
	term      raft.Term // of the two above
	requests  requestQueue
	changes   changeQueue
	reading   readQueues
	followers *followers

	generation raft.Index    // applied when entries were last forgotten
	handed     int64         // bytes of entries handed to the apply loop since then
	prepared   *installation // the state of the snapshot that raft has taken last
	installing raft.Index    // of the last one that was handed to the apply loop
}

// loopEvents are what the loop tells the member; all are called in the loop.
type loopEvents struct {
	leader func(leader raft.MemberID, role raft.Role, term raft.Term)
	status func(raft.Status)
	ship   func(to raft.MemberID, s raft.Snapshot) // a member needs a snapshot
}

func (l *raftLoop) run(ctx context.Context) error {
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

// errLoopDone ends the loop in good order.
var errLoopDone = errors.New("etcdserver: the raft loop was asked to end")

// wait takes one input, and whatever else of its kind is there.
func (l *raftLoop) wait(ctx context.Context, tick <-chan time.Time) error {
	writes, applies := l.takers()
	if l.urgent(writes, applies, tick) {
		return nil
	}
	proposals := l.proposals.wake
	if writes != nil {
		proposals = nil // more of them make one batch while the disk is busy
	}
	select {
	case <-ctx.Done():
		return errLoopDone
	case <-proposals:
		runtime.Gosched() // who is about to ask, too, shares the batch
		l.propose()
	case in := <-l.inbound:
		l.receive(in)
	case seq := <-l.writer.durable:
		l.machine.Durable(seq)
	case writes <- l.toWrite:
		l.toWrite = nil
	case applies <- l.toApply:
		l.toApply = applyWork{}
	case <-l.reads.wake:
		runtime.Gosched()
		l.read()
	case <-l.apply.deadlineChanged:
		l.setExpiry()
	case <-l.requests.expiry.C:
		l.requests.tickOwed = true
		l.proposeOwed()
	case <-l.calls.wake:
		l.call()
	case <-tick:
		l.tick()
	}
	return nil
}

// takers are the channels that work can be handed to; nil if there is none.
func (l *raftLoop) takers() (writes chan<- []raft.Write, applies chan<- applyWork) {
	if len(l.toWrite) > 0 {
		writes = l.writer.batches
	}
	if !l.toApply.empty() {
		applies = l.apply.batches
	}
	return writes, applies
}

// urgent looks first for what must not wait and cannot keep the rest waiting:
// work that has a taker, what the disk has done, and the time. With a fixed
// order a simulation goes the same way again, too.
func (l *raftLoop) urgent(writes chan<- []raft.Write, applies chan<- applyWork, tick <-chan time.Time) bool {
	select {
	case writes <- l.toWrite:
		l.toWrite = nil
		return true
	default:
	}
	select {
	case applies <- l.toApply:
		l.toApply = applyWork{}
		return true
	default:
	}
	select {
	case seq := <-l.writer.durable:
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

func (l *raftLoop) call() {
	for _, each := range l.calls.take(nil) {
		each()
	}
}

func (l *raftLoop) tick() {
	l.machine.Tick()
	status := l.machine.Status()
	l.events.status(status)
	l.tickRequests()
	l.tickChanges(status)
	l.yieldOnFullDisk()
	l.beginReads()
}

// receive steps messages, and those that came meanwhile.
func (l *raftLoop) receive(in inbound) {
	for n := 0; ; n++ {
		for _, message := range in.messages {
			switch m := message.(type) {
			case raft.AppendReply:
				l.followers.acknowledged(in.from, m.Match, time.Now())
			case raft.Append:
				l.followers.received(m, time.Now())
			}
			if err := l.machine.Step(in.from, message); err != nil {
				l.log.refused(err)
				l.observer.refused()
			}
		}
		l.room.Release(in.bytes)
		if n == inboundQueue {
			return
		}
		select {
		case in = <-l.inbound:
		default:
			return
		}
	}
}

// drive hands out all the work that the machine has. Changes are tried when
// there is none left: then the loop knows whether it leads.
func (l *raftLoop) drive() error {
	applied := l.apply.present.Load() // once: the apply loop goes on meanwhile
	l.machine.Applied(applied.Index)
	if err := l.forget(applied); err != nil {
		return err
	}
	l.drain()
	l.tryChanges()
	l.drain()
	return nil
}

func (l *raftLoop) drain() {
	for {
		work, ok := l.machine.Work()
		if !ok {
			return
		}
		l.hand(work)
	}
}

func (l *raftLoop) hand(work raft.Work) {
	if work.Write != nil {
		l.toWrite = append(l.toWrite, *work.Write)
		for _, e := range work.Write.Entries {
			if t := stampOf(e); t > l.stamped {
				l.stamped = t
				l.clock.observe(t) // should this member lead next, its own come after
			}
		}
	}
	if work.Install != nil {
		l.install(*work.Install)
	}
	if len(l.toApply.entries) == 0 {
		l.toApply.entries = slices.Clip(work.Apply) // the log's own, which keeps it
	} else {
		l.toApply.entries = append(l.toApply.entries, work.Apply...)
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
	l.answerReads(work.Reads, work.LostReads)
}

// send gives messages to the transport; a snapshot goes its own way.
func (l *raftLoop) send(out []raft.Outbound) {
	kept := out[:0:0]
	for i, each := range out {
		switch message := each.Message.(type) {
		case raft.Snapshot:
			if len(kept) == 0 {
				kept = append(make([]raft.Outbound, 0, len(out)), out[:i]...)
			}
			l.events.ship(each.To, message)
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
	l.peers.Send(kept)
}

// leaderChanged settles who takes requests from now on. All that wait are
// proposed again: what came of those that the former leader had is unknown. That
// is so, too, if it is the same member, elected again.
func (l *raftLoop) leaderChanged(s raft.SoftState) {
	status := l.machine.Status()
	was, before, another := l.leading, l.leader, s.Term != l.term
	l.leading, l.leader, l.term = s.Role == raft.Leader, ID(s.Leader), s.Term
	l.events.leader(s.Leader, s.Role, s.Term)
	l.events.status(status)
	if was && (another || !l.leading) {
		l.giveBackChanges()
		l.followers.clear()
	}
	if l.leading && (another || !was) {
		l.requests.openingOwed, l.changes.tenure = true, 0
		l.changes.settled = status.Last + 1 // the entry that opens the term: what was changed before is applied then
		l.proposeOwed()
		l.setExpiry()
	}
	if l.leader != 0 && (another || l.leader != before) {
		l.proposeAgain()
	}
	l.beginReads()
}

// forget lets go of applied entries in memory, a generation at a time: what
// was applied since the last time is kept. The others stay in the write-ahead
// log; a follower that needs them gets a snapshot.
func (l *raftLoop) forget(state *replica.Head) error {
	full := state.Index >= l.generation+raft.Index(datadir.KeepEntries(state)) || l.handed >= datadir.KeepBytes
	if !full || state.Index <= l.generation || state.Index < l.installing {
		return nil
	}
	keepFrom := l.generation + 1
	l.generation, l.handed = state.Index, 0
	return l.machine.Compact(state.RaftMeta(), keepFrom)
}
