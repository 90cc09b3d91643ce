package etcdserver

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// Entries that are applied before their view is published and their waiters are
// woken: so many, or as many as make so many bytes of events.
const (
	applyMax      = 512
	applyBytesMax = 4 << 20
)

// applyLoop owns the writing side of the store and the membership. Committed
// entries come in, in order; events, views and outcomes go out.
type applyLoop struct {
	self     ID
	cluster  ID
	state    *replica.State
	store    *store.Store // of the state
	clock    *logClock
	waiters  *waiters
	observer *Observer
	snapshot *snapshotter
	compare  *consistency // nil: there is nobody to compare with
	log      memberLog
	changed  func(*replica.Head) // the list of members is another one

	batches         chan applyWork
	demands         chan chan<- snapshotJob      // the present state is wanted; each has room for it
	calls           *inbox[func()]               // run in the loop
	deadlineChanged chan struct{}                // has room for one: the loop looks for itself
	deadline        atomic.Int64                 // the store's earliest, 0: none
	present         atomic.Pointer[replica.Head] // as of what is published
	waits           indexWaits

	content  replica.Content
	told     *replica.Membership // to changed, last
	time     store.Time          // of the log, as the clock was told last
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
func (a *applyLoop) job() snapshotJob { return snapshotJob{Snapshot: a.state.Snapshot()} }

// applyEntry runs one entry, and notes what follows from it outside the state.
func (a *applyLoop) applyEntry(e raft.Entry) error {
	a.content = replica.Content{}
	if err := a.content.Decode(e); err != nil {
		return err
	}
	effect, err := a.state.Apply(e, &a.content)
	if err != nil {
		return err
	}
	a.snapshot.growth.Add(len(e.Data))
	if t := a.state.Time(); t != a.time {
		a.time = t
		a.clock.applied(t)
	}
	a.ticked = a.ticked || effect.TimePassed
	if effect.Change != nil {
		a.memberChanged(effect.Change)
	}
	if effect.Agreed {
		if err := a.check(); err != nil {
			return err
		}
	}
	a.finish(effect.Session, effect.Request, outcome{
		applied: Applied{Event: effect.Event, RaftIndex: uint64(e.Index), RaftTerm: uint64(e.Term)},
		err:     effect.Err,
	})
	return nil
}

func (a *applyLoop) memberChanged(c *replica.Change) {
	a.log.MemberChanged(c, a.self, a.cluster)
	if c.Op == raft.Promote {
		a.told = nil // the list shows who is a learner
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
	head := a.state.Head
	a.present.Store(&head)
	for _, f := range a.finished {
		a.waiters.finish(f.id, f.outcome)
	}
	clear(a.finished)
	a.finished = a.finished[:0]
	a.waits.reached(head.Index)
	a.announceDeadline()
	if a.told != head.Members {
		a.told = head.Members
		a.changed(&head)
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
