package raftloop

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/raft"
	"canopy/store"
)

// noEvents ignores what the apply loop does.
type noEvents struct{}

func (noEvents) Applied(int, time.Duration)                            {}
func (noEvents) Installed(raft.Index, int64)                           {}
func (noEvents) MemberChanged(*replica.Change, replica.ID, replica.ID) {}
func (noEvents) MembersPublished(*replica.Head)                        {}
func (noEvents) AuthChanged(*auth.State, *auth.State)                  {}

// outbox is a transport that keeps the envelopes.
type outbox chan []byte

func (outbox) Send([]raft.Outbound) {}
func (o outbox) SendEnvelope(_ raft.MemberID, envelope []byte) bool {
	o <- envelope
	return true
}

// newTestLoop is a loop without a machine.
func newTestLoop(sent outbox) *Loop {
	return New(Options{Self: 1, Interval: time.Second, Pending: pending.New(1, pending.BytesMax), Transport: sent})
}

// Entries are forgotten while the apply loop goes on: the loop reads once what is applied, and forgets no more than that.
func TestForgettingBesideTheApplyLoop(t *testing.T) {
	const last = 200_000
	config := raft.Configuration{Voters: []raft.MemberID{1, 2, 3}}
	entries := make([]raft.Entry, 0, last)
	for i := raft.Index(2); i <= last; i++ {
		entries = append(entries, raft.Entry{Index: i, Term: 1})
	}
	machine, err := raft.New(raft.Config{ID: 1, Random: func(int) int { return 0 }}, raft.State{
		Snapshot:  raft.SnapshotMeta{Index: 1, Term: 1, Configuration: config},
		HardState: raft.HardState{Term: 1, Commit: last},
		Entries:   entries,
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, more := machine.Work(); !more {
			break
		}
	}
	state := replica.New(1, store.Options{})
	state.Index, state.Term, state.Config = 1, 1, config
	apply := applier.New(applier.Options{
		State: state, Clock: logclock.New(time.Now()), Pending: pending.New(1, pending.BytesMax), Events: noEvents{},
		Schedule: snapshotter.NewSchedule(snapshotter.New(snapshotter.Options{}).Front(), snapshotter.ScheduleOptions{MinEntries: math.MaxUint64}),
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = apply.Run(ctx) })
	l := New(Options{Machine: machine, Interval: time.Second, Apply: apply.Front()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for rest := slices.Clone(entries); len(rest) > 0; rest = rest[1:] {
			apply.Front().Batches() <- applier.Work{Entries: rest[:1]}
		}
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = apply.Front().Wait(ctx, last) == nil
		default:
		}
		l.handed = datadir.KeepBytes // so much that some has to be forgotten
		if err := l.drive(); err != nil {
			t.Fatal(err)
		}
	}
	if l.generation != last {
		t.Errorf("entries up to %d were considered, want %d", l.generation, last)
	}
}
