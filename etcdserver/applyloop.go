package etcdserver

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// Entries that are applied before their view is published and their waiters are
// woken: so many, or as many as make so many bytes of events.
const (
	applyMax      = 512
	applyBytesMax = 4 << 20
)

// Most keys that one entry may expire. They are a part of the format of the log:
// all members of all versions must remove the same keys with the same entry. An
// entry with a command expires few, so that a mass expiry cannot stall writes
// behind it (R52); a tick does the bulk.
const (
	expirePerCommand = 32
	expirePerTick    = 1000
)

// applied is the replicated state outside the tree, as of one entry. It is
// immutable.
type applied struct {
	index   raft.Index
	term    raft.Term
	config  raft.Configuration
	members *membership
}

func (a *applied) raftMeta() raft.SnapshotMeta {
	return raft.SnapshotMeta{Index: a.index, Term: a.term, Configuration: a.config}
}

// keepEntries is how many entries make a generation.
func (a *applied) keepEntries() int {
	if len(a.members.members) <= 1 {
		return keepEntriesAlone
	}
	return keepEntries
}

// applyLoop owns the writing side of the store and the membership. Committed
// entries come in, in order; events, views and outcomes go out.
type applyLoop struct {
	self     ID
	store    *store.Store
	clock    *logClock
	waiters  *waiters
	observer *Observer
	snapshot *snapshotter
	compare  *consistency // nil: there is nobody to compare with
	log      memberLog
	changed  func(*applied) // the list of members is another one

	batches         chan applyWork
	demands         chan chan<- snapshotJob // the present state is wanted; each has room for it
	calls           *inbox[func()]          // run in the loop
	deadlineChanged chan struct{}           // has room for one: the loop looks for itself
	deadline        atomic.Int64            // the store's earliest, 0: none
	state           atomic.Pointer[applied]
	waits           indexWaits

	next     applied // the state being made
	sessions *sessions
	settled  *membership // as changed was last told
	time     store.Time  // the log's
	finished []finished
	ticked   bool // the batch let time pass: the timer has to be set anew
}

// finished is a request whose outcome is told once its effects can be seen.
type finished struct {
	id      uint64
	outcome outcome
}

func (a *applyLoop) run(ctx context.Context) error {
	again := make(chan struct{})
	close(again)
	for {
		var wake <-chan struct{}
		if a.store.Wake() {
			runtime.Gosched() // those that were woken, and the next write, are not kept waiting
			wake = again
		}
		select {
		case <-ctx.Done():
			return errLoopDone
		case work := <-a.batches:
			if work.install != nil {
				a.install(work.install)
				a.publish()
			}
			if err := a.applyBatch(work.entries); err != nil {
				return err
			}
		case wanted := <-a.demands:
			wanted <- a.job()
		case <-a.calls.wake:
			for _, each := range a.calls.take(nil) {
				each()
			}
		case <-wake:
		}
	}
}

// slowApply is when a batch is worth a line for who debugs.
const slowApply = 100 * time.Millisecond

func (a *applyLoop) applyBatch(batch []raft.Entry) error {
	for len(batch) > 0 {
		n := 0
		start := time.Now()
		for n < min(len(batch), applyMax) && a.store.Held() < applyBytesMax {
			if err := a.applyEntry(batch[n]); err != nil {
				return err
			}
			n++
		}
		a.publish()
		took := time.Since(start)
		a.observer.applied(n, took)
		if took > slowApply {
			a.log.slowApply(n, took)
		}
		a.snapshot.consider(a.job)
		batch = batch[n:]
	}
	return nil
}

// job is the present state, ready to be saved.
func (a *applyLoop) job() snapshotJob {
	return snapshotJob{view: a.store.View(), state: a.state.Load(), sessions: a.sessions.toProto()}
}

// applyEntry runs one entry. It must not depend on anything but the entry and
// the state (K3).
func (a *applyLoop) applyEntry(e raft.Entry) error {
	var o content
	if err := o.decode(e); err != nil {
		return err
	}
	return a.applyContent(e, &o)
}

// content is what an entry says, unless it is a configuration change.
type content struct {
	request pb.Request
	command store.Command // of the request; nil: it has none
}

// decode reads an entry. The request is parts of the entry's data.
func (o *content) decode(e raft.Entry) (err error) {
	if e.Type == raft.EntryConfChange {
		return nil
	}
	if err := o.request.UnmarshalVTUnsafe(e.Data); err != nil {
		return fmt.Errorf("etcdserver: entry %d of the log cannot be read: %w", e.Index, err)
	}
	if len(o.request.Command) == 0 {
		return nil
	}
	if o.command, err = store.DecodeCommand(o.request.Command); err != nil {
		return fmt.Errorf("etcdserver: entry %d of the log: %w", e.Index, err)
	}
	return nil
}

// applyContent runs an entry that was decoded.
func (a *applyLoop) applyContent(e raft.Entry, o *content) error {
	a.next.index, a.next.term = e.Index, e.Term
	a.snapshot.grown(len(e.Data))
	switch {
	case e.Type == raft.EntryConfChange:
		return a.applyConfChange(e)
	case len(e.Data) == 0:
		return nil // a new leader's first entry
	}
	return a.applyRequest(e, o)
}

func (a *applyLoop) applyRequest(e raft.Entry, o *content) error {
	r := &o.request
	t := store.Time(r.Time)
	if r.NewLeader && a.time != 0 && t > a.time {
		a.store.Shift(store.Duration(t - a.time)) // nobody could refresh a key while nobody led (R51)
	}
	if t > a.time { // a leader's batch has one time
		a.time = t
		a.store.Pass(t) // a snapshot has this time, too, whatever the request
		a.clock.applied(t)
	}
	if !a.sessions.begin(r.Session, r.Id, r.Finished, a.ledTime()) {
		return nil // applied before, and answered then (K123)
	}
	switch {
	case o.command != nil:
		a.applyCommand(e, o)
		return nil
	case r.Publish != nil:
		a.applyPublish(r.Publish)
		if err := a.check(); err != nil {
			return err
		}
	case r.ClusterVersion != "":
		a.next.members = a.next.members.withVersion(strings.Clone(r.ClusterVersion))
		a.store.Advance()
	default:
		a.expire(expirePerTick)
		a.ticked = true
		if r.Check || r.NewLeader {
			return a.check()
		}
		return nil
	}
	a.finish(r.Session, r.Id, outcome{applied: Applied{RaftIndex: uint64(e.Index), RaftTerm: uint64(e.Term)}})
	return nil
}

// ledTime is log time less the time nobody led. Where clocks differ a new leader
// moves the log's time, by hours maybe, and that must not age anything.
func (a *applyLoop) ledTime() store.Time { return a.time - store.Time(a.store.Shifted()) }

func (a *applyLoop) applyCommand(e raft.Entry, o *content) {
	a.expire(expirePerCommand)
	event, err := a.store.Apply(a.time, o.command)
	a.finish(o.request.Session, o.request.Id, outcome{
		applied: Applied{Event: event, RaftIndex: uint64(e.Index), RaftTerm: uint64(e.Term)},
		err:     err,
	})
}

// expire removes at most so many keys that are due. What it tells of them is published meanwhile if it is much.
func (a *applyLoop) expire(most int) {
	for most > 0 {
		step := min(most, expirePerCommand)
		if a.store.Expire(a.time, step) < step {
			return
		}
		if most -= step; a.store.Held() >= applyBytesMax {
			a.store.Publish()
		}
	}
}

func (a *applyLoop) applyPublish(p *pb.Attributes) {
	members, known := a.next.members.published(p)
	if known {
		a.next.members = members
		a.store.Advance()
	}
}

func (a *applyLoop) applyConfChange(e raft.Entry) error {
	change, err := raft.DecodeConfChange(e.Data)
	if err != nil {
		return fmt.Errorf("etcdserver: entry %d of the log: %w", e.Index, err)
	}
	if a.next.config, err = a.next.config.With(change); err != nil {
		return fmt.Errorf("etcdserver: entry %d of the log: %w", e.Index, err)
	}
	var c pb.Change
	if err := c.UnmarshalVT(change.Context); err != nil || c.Member == nil {
		return fmt.Errorf("etcdserver: entry %d of the log: the context of its %v cannot be read: %w", e.Index, change.Op, err)
	}
	// A second copy is applied, too: raft has it in its configuration, and members of
	// all versions must make the same list of it. Leaders propose none (reconfigure.go).
	a.sessions.begin(c.Session, c.Id, c.Finished, a.ledTime())
	a.changeMember(e, change.Op, memberFromProto(c.Member))
	a.store.Advance()
	a.finish(c.Session, c.Id, outcome{applied: Applied{RaftIndex: uint64(e.Index), RaftTerm: uint64(e.Term)}})
	return nil
}

func (a *applyLoop) changeMember(e raft.Entry, op raft.ConfChangeOp, info MemberInfo) {
	switch op {
	case raft.AddVoter, raft.AddLearner:
		a.next.members = a.next.members.withMember(info)
		a.log.memberAdded(info, a.self, a.snapshot.cluster)
	case raft.UpdateContext:
		if present, ok := a.next.members.members[info.ID]; ok {
			present.PeerURLs = info.PeerURLs
			a.next.members = a.next.members.withMember(present)
			a.log.memberUpdated(present)
		}
	case raft.Promote:
		a.log.promoted(info.ID)
		a.settled = nil // the list shows who is a learner
	case raft.Remove:
		gone := a.next.members.members[info.ID]
		a.next.members = a.next.members.without(info.ID, removal{e.Term, e.Index})
		a.store.Advance() // K46: a removal counts twice
		a.log.memberRemoved(info.ID, gone.about(), a.snapshot.cluster)
	}
}

// finish keeps the outcome of a request of this process.
func (a *applyLoop) finish(session, id uint64, o outcome) {
	if session == a.waiters.session && id != 0 {
		a.finished = append(a.finished, finished{id, o})
	}
}

// publish makes what was applied visible, and only then tells those who wait:
// a client that has its answer finds its own write.
func (a *applyLoop) publish() {
	a.store.Publish()
	state := a.next
	a.state.Store(&state)
	for _, f := range a.finished {
		a.waiters.finish(f.id, f.outcome)
	}
	clear(a.finished)
	a.finished = a.finished[:0]
	a.waits.reached(state.index)
	a.announceDeadline()
	if a.settled != state.members {
		a.settled = state.members
		a.changed(&state)
	}
}

// announceDeadline tells the raft loop when the earliest deadline has changed.
func (a *applyLoop) announceDeadline() {
	deadline, ok := a.store.NextDeadline()
	if !ok {
		deadline = 0
	}
	if a.deadline.Swap(int64(deadline)) == int64(deadline) && !a.ticked {
		return
	}
	a.ticked = false
	select {
	case a.deadlineChanged <- struct{}{}:
	default:
	}
}

func (a *applyLoop) nextDeadline() (store.Time, bool) {
	t := a.deadline.Load()
	return store.Time(t), t != 0
}

// indexWaits are readers that wait until an index is applied.
type indexWaits struct {
	// mu guards waiting and applied; held for a few lines.
	mu      sync.Mutex
	applied raft.Index
	waiting map[chan struct{}]raft.Index
}

func (w *indexWaits) reached(index raft.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = index
	for done, wanted := range w.waiting {
		if wanted <= index {
			close(done)
			delete(w.waiting, done)
		}
	}
}

// wait returns when index is applied, with ErrStopped when stopped is closed, or with the context's error.
func (w *indexWaits) wait(ctx context.Context, index raft.Index, stopped <-chan struct{}) error {
	w.mu.Lock()
	if w.applied >= index {
		w.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	if w.waiting == nil {
		w.waiting = map[chan struct{}]raft.Index{}
	}
	w.waiting[done] = index
	w.mu.Unlock()
	var err error
	select {
	case <-done:
		return nil
	case <-stopped:
		err = ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.mu.Lock()
	delete(w.waiting, done)
	w.mu.Unlock()
	return err
}
