// Package transfer carries snapshots between members: a leader's Sender picks a file, or
// has one written, and streams it; the Receiver of the other member stores it, loads it,
// and gives it to raft.
package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/inbox"
	"canopy/etcdserver/raftloop"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/internal/lasting"
	"canopy/raft"
	"canopy/snap"
)

// ordersMax bounds the snapshots that wait to be sent.
const ordersMax = 64

// sendersMax bounds the snapshots that are sent at the same time.
const sendersMax = 2

// Transport sends a snapshot to a member, and returns when it is there, or is not.
type Transport interface {
	SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, size int64) error
}

// Events are told what happens. They return at once.
type Events interface {
	SnapshotSending(to replica.ID, index raft.Index) // at this index or later
	SnapshotSent(to replica.ID, index raft.Index)
	SnapshotNotSent(to replica.ID, lasted time.Duration, err error) // at the first failure, and each minute
	SnapshotSpoiled(index raft.Index, err error)                    // it was received, and cannot be loaded
}

// SenderOptions say what a Sender works with.
type SenderOptions struct {
	Raft        *raftloop.Front
	Apply       *applier.Front
	Snapshotter *snapshotter.Front
	Dir         *snap.Dir
	Transport   Transport
	Interval    time.Duration // between tries to tell raft
	Events      Events
}

// Sender sends snapshots to members that need one, at most sendersMax at a time. Any
// goroutine may call Order; the goroutine of Run, and those that it starts and waits for,
// call the other methods.
type Sender struct {
	SenderOptions
	orders *inbox.Inbox[order]

	mu      sync.Mutex // guards failing, for a few lines
	failing map[raft.MemberID]*lasting.Condition
}

// NewSender makes a Sender that is not running.
func NewSender(o SenderOptions) *Sender {
	return &Sender{SenderOptions: o, orders: inbox.New[order](ordersMax), failing: map[raft.MemberID]*lasting.Condition{}}
}

// Order lets a snapshot be sent to a member; false means that too many wait.
func (s *Sender) Order(to raft.MemberID, message raft.Snapshot) bool {
	return s.orders.Put(order{to, message})
}

// logResult logs that a snapshot has arrived or, each minute, that none does.
func (s *Sender) logResult(o order, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failing, o.to)
		s.Events.SnapshotSent(replica.ID(o.to), o.message.Meta.Index)
		return
	}
	condition := s.failing[o.to]
	if condition == nil {
		condition = &lasting.Condition{}
		s.failing[o.to] = condition
	}
	if moment, lasted := condition.Observe(true, time.Now()); moment != lasting.Quiet {
		s.Events.SnapshotNotSent(replica.ID(o.to), lasted, err)
	}
}

type order struct {
	to      raft.MemberID
	message raft.Snapshot
}

// Run sends what is ordered until ctx ends, whose error it returns then.
func (s *Sender) Run(ctx context.Context) error {
	slots := make(chan struct{}, sendersMax)
	defer func() {
		for range sendersMax {
			slots <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.orders.Wake():
		}
		for _, o := range s.orders.Take(nil) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case slots <- struct{}{}:
			}
			go func() {
				defer func() { <-slots }()
				s.deliver(ctx, o)
			}()
		}
	}
}

// deliver sends one snapshot, and tells raft whether it has arrived. If not, raft orders
// another one.
func (s *Sender) deliver(ctx context.Context, o order) {
	s.Events.SnapshotSending(replica.ID(o.to), o.message.Meta.Index)
	err := s.send(ctx, o)
	for !s.Raft.SnapshotSent(o.to, err == nil) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.Interval):
		}
	}
	if ctx.Err() == nil {
		s.logResult(o, err)
	}
}

// send picks the newest snapshot that reaches as far as raft needs, or has one
// written, and streams its file.
func (s *Sender) send(ctx context.Context, o order) error {
	meta, err := s.pick(ctx, o.message.Meta.Index)
	if err != nil {
		return err
	}
	o.message.Meta = meta
	return s.Dir.Export(snap.Meta{Term: uint64(meta.Term), Index: uint64(meta.Index)}, func(r io.Reader, size int64) error {
		return s.Transport.SendSnapshot(ctx, o.to, o.message, r, size)
	})
}

func (s *Sender) pick(ctx context.Context, atLeast raft.Index) (raft.SnapshotMeta, error) {
	if newest := s.Snapshotter.Newest(); newest != nil && newest.Index >= atLeast {
		return *newest, nil
	}
	if err := s.save(ctx); err != nil {
		return raft.SnapshotMeta{}, err
	}
	newest := s.Snapshotter.Newest()
	if newest == nil || newest.Index < atLeast {
		return raft.SnapshotMeta{}, fmt.Errorf("etcdserver: the snapshot that was written does not reach index %d", atLeast)
	}
	return *newest, nil
}

// save has the present state saved. The apply loop does not wait for it.
func (s *Sender) save(ctx context.Context) error {
	state, err := s.Apply.Snapshot(ctx)
	if err != nil {
		return err
	}
	return s.Snapshotter.Save(ctx, state)
}
