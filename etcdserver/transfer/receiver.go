package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/raftloop"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/raft"
	"canopy/snap"
	"canopy/store"
)

// Receiver takes snapshots that the leader sends. Any goroutine may call its methods.
type Receiver struct {
	Cluster replica.ID
	Dir     *snap.Dir
	Store   store.Options // of the state that is loaded
	Space   *logwriter.Space
	Apply   *applier.Front
	Raft    *raftloop.Front
	Events  Events
}

// Receive stores a snapshot, loads it beside the present state, and lets raft decide whether it
// takes its place. It returns when raft has decided. A failure that is this member's own stops
// the member; a snapshot that cannot be read or loaded is refused, and nothing is changed.
func (r *Receiver) Receive(ctx context.Context, from raft.MemberID, message raft.Snapshot, body io.Reader) error {
	meta := snap.Meta{Term: uint64(message.Meta.Term), Index: uint64(message.Meta.Index)}
	var prepared *applier.Installation
	if message.Meta.Index > r.Apply.Present().Index {
		err := r.Dir.Import(meta, body, func(file io.Reader) (err error) {
			prepared, err = r.Load(file, message.Meta)
			return err
		})
		if errors.Is(err, snap.ErrUnusable) {
			r.Events.SnapshotSpoiled(message.Meta.Index, err)
		}
		if err != nil {
			return fmt.Errorf("etcdserver: store the snapshot: %w", err)
		}
		snapshotter.Measure(r.Dir, meta, r.Space)
	}
	return r.Raft.TakeSnapshot(ctx, from, message, prepared)
}

// Load reads a snapshot that was received, and compares it with what was announced.
func (r *Receiver) Load(from io.Reader, announced raft.SnapshotMeta) (*applier.Installation, error) {
	state, length, err := replica.Load(from, r.Cluster, r.Store)
	if err != nil {
		return nil, datadir.Unusable(err)
	}
	if state.Index != announced.Index || state.Term != announced.Term || !state.Config.Equal(announced.Configuration) {
		return nil, datadir.Unusable(fmt.Errorf("announced for index %d of term %d, it holds index %d of term %d", announced.Index, announced.Term, state.Index, state.Term))
	}
	return &applier.Installation{State: state, Bytes: length}, nil
}
