package etcdserver

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"canopy/raft"
	"canopy/store"
)

// Limits of the raft loop's queues.
const (
	proposalQueue = 4096      // requests between the door and the loop
	heldMax       = 16 * 1024 // requests held while there is no leader
	readQueue     = 4096      // linearizable reads between the door and the loop
	keepEntries   = 8192      // applied entries kept in memory for slow followers,
	keepBytes     = 64 << 20  // unless they are bigger than this
)

// stampEvery is how long the log may be idle while keys with deadlines exist
// before the leader stamps its time on it. After a crash that gap is what keys
// may live too long, since time without a leader does not count (R51).
const stampEvery = 5 * time.Second

// proposal is an encoded request on its way into the log.
type proposal struct {
	id   uint64
	data []byte // an encoded Request without its time, with room for it
}

// readRequest asks for an index that is safe to read at.
type readRequest struct {
	index chan raft.Index // has room for the one answer
}

// raftLoop owns the raft machine: it alone calls it. It moves work between
// channels and never waits for a disk, a peer or the store.
type raftLoop struct {
	machine  *raft.Machine
	clock    *logClock
	interval time.Duration // of one tick
	observer *Observer
	events   loopEvents

	proposals *inbox[proposal]
	reads     *inbox[readRequest]
	writer    *logWriter
	apply     *applyLoop

	toWrite []raft.Write
	toApply []raft.Entry
	held    []proposal // waiting for a leader
	taken   []proposal // scratch
	payload [][]byte   // scratch

	takenReads []readRequest // scratch

	readBatch  uint64                   // the last read batch begun
	reading    map[uint64][]readRequest // batches under way
	nextReads  []readRequest            // waiting for the next batch
	forgotten  raft.Index               // log entries before it are out of memory
	handed     int64                    // bytes of entries handed to the apply loop since then
	leading    bool
	lastStamp  store.Time // the time last stamped on an entry
	expiry     *time.Timer
	tickNeeded bool // a deadline is due, or a stamp
}

// loopEvents are what the loop tells the member; all are called in the loop.
type loopEvents struct {
	leader func(leader raft.MemberID, role raft.Role, term raft.Term)
	drop   func(p proposal, err error) // p will never be in the log
	status func(raft.Status)
}

func (l *raftLoop) run(ctx context.Context) error {
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	l.expiry = time.NewTimer(time.Hour)
	defer l.expiry.Stop()
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
	var writes chan<- []raft.Write
	proposals := l.proposals.wake
	if len(l.toWrite) > 0 {
		writes, proposals = l.writer.batches, nil // more of them make one batch while the disk is busy
	}
	var applies chan<- []raft.Entry
	if len(l.toApply) > 0 {
		applies = l.apply.batches
	}
	select {
	case <-ctx.Done():
		return errLoopDone
	case <-proposals:
		l.propose()
	case seq := <-l.writer.durable:
		l.machine.Durable(seq)
	case writes <- l.toWrite:
		l.toWrite = nil
	case applies <- l.toApply:
		l.toApply = nil
	case <-l.reads.wake:
		l.read()
	case <-l.apply.deadlineChanged:
		l.setExpiry()
	case <-l.expiry.C:
		l.tickNeeded = true
		l.proposeTick()
	case <-tick:
		l.tick()
	}
	return nil
}

func (l *raftLoop) tick() {
	l.machine.Tick()
	l.events.status(l.machine.Status())
	if len(l.held) > 0 {
		l.repropose()
	}
	l.beginReads()
}

// propose stamps and proposes all that is waiting, as one batch.
func (l *raftLoop) propose() {
	l.taken = l.proposals.take(l.taken)
	if len(l.held) > 0 {
		l.repropose()
	}
	l.append(l.taken)
}

func (l *raftLoop) repropose() {
	batch := l.held
	l.held = nil
	l.append(batch)
}

func (l *raftLoop) append(batch []proposal) {
	if !l.leading {
		l.hold(batch)
		return
	}
	l.payload = l.payload[:0]
	now := l.stamp()
	for _, p := range batch {
		l.payload = append(l.payload, appendTime(p.data, now))
	}
	_, _, err := l.machine.Propose(l.payload...)
	clear(l.payload)
	if err != nil {
		l.hold(batch)
	}
}

// hold keeps requests until there is a leader; their own time-outs end them.
func (l *raftLoop) hold(batch []proposal) {
	room := max(0, heldMax-len(l.held))
	kept := min(room, len(batch))
	l.held = append(l.held, batch[:kept]...)
	for _, p := range batch[kept:] {
		l.events.drop(p, ErrTooBusy)
	}
}

// stamp gives the time for new entries. It never goes back, whatever happens.
func (l *raftLoop) stamp() store.Time {
	l.lastStamp = max(l.lastStamp, l.clock.now())
	return l.lastStamp
}

// appendTime completes an encoded Request with its time. Protobuf messages
// merge when they are concatenated, so that the door need not know the time.
func appendTime(data []byte, t store.Time) []byte {
	const timeTag = 1<<3 | 1 // field 1, fixed64
	return binary.LittleEndian.AppendUint64(append(data, timeTag), uint64(t))
}

// timeRoom is what appendTime adds.
const timeRoom = 9

// proposeTick lets the log's time pass: keys whose deadline is due expire when
// the entry is applied.
func (l *raftLoop) proposeTick() {
	if !l.leading || !l.tickNeeded {
		return
	}
	l.tickNeeded = false
	l.append([]proposal{{data: make([]byte, 0, timeRoom)}})
}

// setExpiry arms the timer for the earliest deadline of the store.
func (l *raftLoop) setExpiry() {
	deadline, ok := l.apply.nextDeadline()
	if !ok {
		l.expiry.Stop()
		return
	}
	l.expiry.Reset(min(l.clock.until(deadline), stampEvery))
}

// read begins a batch of all linearizable reads that are waiting.
func (l *raftLoop) read() {
	l.takenReads = l.reads.take(l.takenReads)
	l.nextReads = append(l.nextReads, l.takenReads...)
	l.beginReads()
}

func (l *raftLoop) beginReads() {
	if len(l.nextReads) == 0 {
		return
	}
	if err := l.machine.ReadIndex(l.readBatch + 1); err != nil {
		l.nextReads = l.nextReads[:min(len(l.nextReads), heldMax)]
		return
	}
	l.readBatch++
	l.reading[l.readBatch] = l.nextReads
	l.nextReads = nil
}

// drive hands out all the work that the machine has.
func (l *raftLoop) drive() error {
	applied := l.apply.state.Load().index
	l.machine.Applied(applied)
	if applied > l.forgotten+2*keepEntries || l.handed > keepBytes {
		if err := l.forget(); err != nil {
			return err
		}
	}
	for {
		work, ok := l.machine.Work()
		if !ok {
			return nil
		}
		l.hand(work)
	}
}

func (l *raftLoop) hand(work raft.Work) {
	if work.Write != nil {
		l.toWrite = append(l.toWrite, *work.Write)
	}
	l.toApply = append(l.toApply, work.Apply...)
	for i := range work.Apply {
		l.handed += int64(len(work.Apply[i].Data))
	}
	for _, r := range work.Reads {
		for _, request := range l.reading[r.Ctx] {
			request.index <- r.Index
		}
		delete(l.reading, r.Ctx)
	}
	for _, ctx := range work.LostReads {
		l.nextReads = append(l.nextReads, l.reading[ctx]...)
		delete(l.reading, ctx)
	}
	if work.Soft != nil {
		l.leaderChanged(*work.Soft)
	}
}

func (l *raftLoop) leaderChanged(s raft.SoftState) {
	status := l.machine.Status()
	was := l.leading
	l.leading = s.Role == raft.Leader
	l.events.leader(s.Leader, s.Role, status.Term)
	l.events.status(status)
	if l.leading && !was {
		l.append([]proposal{{data: newLeaderRequest()}})
		l.setExpiry()
		l.repropose()
	}
	l.beginReads()
}

// forget lets go of applied entries in memory. They stay in the write-ahead
// log; a follower that needs them gets a snapshot of the present state.
func (l *raftLoop) forget() error {
	state := l.apply.state.Load()
	keepFrom := state.index + 1
	if l.handed <= keepBytes {
		keepFrom -= keepEntries
	}
	l.forgotten, l.handed = keepFrom, 0
	meta := raft.SnapshotMeta{Index: state.index, Term: state.term, Configuration: state.config}
	return l.machine.Compact(meta, keepFrom)
}
