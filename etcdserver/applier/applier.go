// Package applier applies the committed entries of the log.
//
//	raft loop ──Work──▶ Loop ──▶ the replicated state, then a view of it
//	                     │   ──▶ pending requests, and readers that wait for an index
//	                     │   ──▶ watchers
//	                     └── Schedule ──▶ snapshotter
//
// The loop owns the writing side of the replicated state. It publishes what it has
// applied, and only then tells those who wait: a client that has its answer finds its
// own write.
package applier

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/consistency"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/raft"
	"canopy/store"
)

// Bounds of a batch of entries, after which a view is published and waiters get their
// results: in entries, and in bytes of their events.
const (
	applyMax      = 512
	applyBytesMax = 4 << 20
)

// Events are told what happens, in the loop. They return at once.
type Events interface {
	Applied(entries int, took time.Duration) // a batch was applied and published
	Installed(index raft.Index, bytes int64) // a leader's snapshot replaced the state
	MemberChanged(c *replica.Change, self, cluster replica.ID)
	AuthChanged(before, now *auth.State) // users, roles or tokens have changed, and are published
	MembersPublished(head *replica.Head) // the list of members has changed, and is published
}

// Options say what a Loop works with.
type Options struct {
	Self, Cluster replica.ID
	State         *replica.State
	Clock         *logclock.Clock
	Pending       *pending.List
	Schedule      *snapshotter.Schedule
	Comparison    *consistency.Comparison // nil: there is nobody to compare with
	Events        Events
	Stopped       <-chan struct{} // closed when the member has stopped
}

// Loop applies. Only the goroutine of Run calls its other methods.
type Loop struct {
	Options
	store *store.Store // of the state
	front *Front

	content  replica.Content
	told     *replica.Membership // given to MembersPublished last
	time     store.Time          // of the log, as the clock was told last
	finished []finished
	ticked   bool // the batch let time pass: the timer has to be set anew
}

// New makes a Loop that is not running, and publishes its state.
func New(o Options) *Loop {
	a := &Loop{Options: o, store: o.State.Store, front: newFront(o.State, o.Stopped), told: o.State.Members, time: o.State.Time()}
	a.store.Publish()
	return a
}

// Front is for the other goroutines.
func (a *Loop) Front() *Front { return a.front }

// finished is a request whose result is told once its effects can be seen.
type finished struct {
	id     uint64
	result pending.Result
}

// Run applies until ctx ends, whose error it returns then, or until an entry cannot be
// applied.
func (a *Loop) Run(ctx context.Context) error {
	again := make(chan struct{})
	close(again)
	for {
		var wake <-chan struct{}
		if a.store.Wake() {
			runtime.Gosched() // watchers that were woken, and the next write, come first
			wake = again
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case work := <-a.front.batches:
			if work.Install != nil {
				a.install(work.Install)
				a.publish()
			}
			if err := a.applyBatch(work.Entries); err != nil {
				return err
			}
		case wanted := <-a.front.snapshots:
			wanted <- a.State.Snapshot()
		case <-a.front.calls.Wake():
			for _, each := range a.front.calls.Take(nil) {
				each(a.State)
			}
		case <-wake:
		}
	}
}

func (a *Loop) applyBatch(batch []raft.Entry) error {
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
		a.Events.Applied(n, time.Since(start))
		a.Schedule.Consider(a.State.Snapshot)
		batch = batch[n:]
	}
	return nil
}

// applyEntry applies one entry, and does what follows from it outside the state.
func (a *Loop) applyEntry(e raft.Entry) error {
	a.content = replica.Content{}
	if err := a.content.Decode(e); err != nil {
		return err
	}
	effect, err := a.State.Apply(e, &a.content)
	if err != nil {
		return err
	}
	a.Schedule.Add(len(e.Data))
	if t := a.State.Time(); t != a.time {
		a.time = t
		a.Clock.Applied(t)
	}
	a.ticked = a.ticked || effect.TimePassed
	if effect.Change != nil {
		a.memberChanged(effect.Change)
	}
	if effect.Agreed {
		if err := a.compare(); err != nil {
			return err
		}
	}
	a.finish(effect.Session, effect.Request, pending.Result{
		Applied: outcome.Applied{Event: effect.Event, Auth: effect.Auth, RaftIndex: uint64(e.Index), RaftTerm: uint64(e.Term)},
		Err:     effect.Err,
	})
	return nil
}

func (a *Loop) memberChanged(c *replica.Change) {
	a.Events.MemberChanged(c, a.Self, a.Cluster)
	if c.Op == raft.Promote {
		a.told = nil // the list shows who is a learner
	}
}

// compare compares the state behind an agreed entry with the others'.
func (a *Loop) compare() error {
	if a.Comparison == nil {
		return nil
	}
	hash, err := a.State.Hash()
	if err != nil {
		return fmt.Errorf("etcdserver: %w", err)
	}
	a.Comparison.Applied(replica.StateHash{Index: a.State.Index, Hash: hash}, &a.State.Head)
	return nil
}

// finish keeps the result of a request of this process until it is published.
func (a *Loop) finish(session, id uint64, r pending.Result) {
	if session == a.Pending.Session() && id != 0 {
		a.finished = append(a.finished, finished{id, r})
	}
}

// publish makes what was applied visible, and only then gives waiters their results: a
// client that has its answer finds its own write.
func (a *Loop) publish() {
	a.store.Publish()
	head := a.State.Head
	before := a.front.present.Swap(&head)
	if before.Auth != head.Auth {
		changed := a.front.authChanged.Load()
		a.front.renewAuthChanged()
		close(*changed)
		a.Events.AuthChanged(before.Auth, head.Auth)
	}
	for _, f := range a.finished {
		a.Pending.Finish(f.id, f.result)
	}
	clear(a.finished)
	a.finished = a.finished[:0]
	a.front.waits.reached(head.Index)
	a.announceDeadline()
	if a.told != head.Members {
		a.told = head.Members
		a.Events.MembersPublished(&head)
	}
}

// announceDeadline tells the raft loop when the earliest deadline has changed.
func (a *Loop) announceDeadline() {
	deadline, ok := a.store.NextDeadline()
	if !ok {
		deadline = 0
	}
	if a.front.deadline.Swap(int64(deadline)) == int64(deadline) && !a.ticked {
		return
	}
	a.ticked = false
	select {
	case a.front.deadlineChanged <- struct{}{}:
	default:
	}
}

// install replaces the state. Watchers that would miss events end, and their clients
// watch again from their index (K114).
func (a *Loop) install(i *Installation) {
	a.State.Replace(i.State)
	a.Comparison.Reset()
	a.time = a.State.Time()
	a.Clock.Applied(a.time)
	a.Schedule.Installed(i.Bytes)
	for _, p := range a.Pending.Requests(func(id uint64) bool { return a.State.WasApplied(a.Pending.Session(), id) }) {
		a.finish(a.Pending.Session(), p.ID(), pending.Result{Err: outcome.ErrTimeoutConnection}) // it was applied, and its result is in no log
	}
	a.Events.Installed(i.State.Index, i.Bytes)
}
