package raftloop

import (
	"canopy/etcdserver/applier"
	"canopy/raft"
)

// takeSnapshot steps the message, and keeps its state if raft is going to install it:
// then the log begins behind it. A snapshot that comes late must not replace the state of
// a newer one that raft has taken, and that is being written to the log.
func (l *Loop) takeSnapshot(from raft.MemberID, message raft.Snapshot, prepared *applier.Installation) error {
	before := l.machine.Status().Commit
	err := l.machine.Step(from, message)
	if at := message.Meta.Index; before < at && l.machine.Status().First == at+1 {
		assert(prepared != nil, "a snapshot that is taken was loaded: %d", at)
		l.prepared = prepared
	}
	return err
}

// install hands a received state to the apply loop. It contains all entries that the
// apply loop has not begun to apply.
func (l *Loop) install(meta raft.SnapshotMeta) {
	assert(l.prepared != nil && l.prepared.State.Index == meta.Index, "the state of the snapshot at %d is there", meta.Index)
	l.toApply = applier.Work{Install: l.prepared}
	l.prepared, l.installing = nil, meta.Index
}
