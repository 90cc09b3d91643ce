package etcdserver

import (
	"time"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// events carries what happens in the loops to the log, to the observer, and to those
// of the member's goroutines that act on it. Each method is called in the loop in which
// the event happens, and returns at once.
type events struct {
	memberlog.Log
	observer *Observer
	election time.Duration
	member   *Member
}

// Synced implements logwriter.Events.
func (e events) Synced(took time.Duration, lastIndex uint64) {
	if e.observer.Synced != nil {
		e.observer.Synced(took, lastIndex)
	}
}

// DiskFull implements logwriter.Events.
func (e events) DiskFull(full bool) {
	if e.observer.Space != nil {
		e.observer.Space(full)
	}
}

// slowApply is when a batch is worth a line at level debug.
const slowApply = 100 * time.Millisecond

// Applied implements applier.Events.
func (e events) Applied(entries int, took time.Duration) {
	if e.observer.Applied != nil {
		e.observer.Applied(entries, took)
	}
	if took > slowApply {
		e.Log.SlowApply(entries, took)
	}
}

// Installed implements applier.Events.
func (e events) Installed(index raft.Index, bytes int64) {
	e.Log.Installed(index)
	if e.observer.Installed != nil {
		e.observer.Installed(bytes)
	}
}

// AuthChanged tells what guests may do from now on: enabling users protects no key until the role guest is changed (A5).
func (e events) AuthChanged(before, now *auth.State) {
	switch {
	case now.Enabled() && !before.Enabled():
		e.Log.UsersEnabled(now.Role(auth.Guest))
	case before.Enabled() && !now.Enabled():
		e.Log.UsersDisabled()
	}
}

// MembersPublished implements applier.Events.
func (e events) MembersPublished(head *replica.Head) {
	m := e.member
	m.peers.Update()
	m.raft.Followers().Keep(head.Members)
	m.comparison.Keep(head.Members, head.Config)
	m.negotiator.membersChanged(head.Members)
	if by, gone := head.Members.Removed[m.self]; gone {
		m.removal.begin(by)
	}
}

// SnapshotSaved implements snapshotter.Events.
func (e events) SnapshotSaved(index raft.Index, bytes int64, took time.Duration) {
	if e.observer.SnapshotSaved != nil {
		e.observer.SnapshotSaved(bytes, took)
	}
	e.Log.SnapshotSaved(index)
}

// SnapshotUnusable implements snapshotter.Events.
func (e events) SnapshotUnusable(index raft.Index, err error) {
	e.Log.SnapshotUnusable(index, err)
	e.observer.snapshotUnusable()
}

// SnapshotSpoiled implements transfer.Events.
func (e events) SnapshotSpoiled(index raft.Index, err error) {
	e.Log.SpoiledOnArrival(index, err)
	e.observer.snapshotUnusable()
}

// SendHash implements consistency.Events.
func (e events) SendHash(to ID, h replica.StateHash, ask bool) {
	hash := &pb.StateHash{Format: hashFormat, Index: uint64(h.Index), Hash: h.Hash, Ask: ask}
	e.member.raft.Notify(to, &pb.Envelope{Kind: &pb.Envelope_Hash{Hash: hash}})
}

// StatusChanged implements raftloop.Events.
func (e events) StatusChanged(s raft.Status) { e.member.machine.Store(&s) }

// SnapshotNeeded implements raftloop.Events.
func (e events) SnapshotNeeded(to raft.MemberID, message raft.Snapshot) {
	if m := e.member; m.damage.found.Load() || !m.sender.Order(to, message) {
		m.raft.SnapshotSent(to, false)
	}
}

// MessageRefused implements raftloop.Events.
func (e events) MessageRefused(err error) {
	e.Log.MessageRefused(err)
	if e.observer.Refused != nil {
		e.observer.Refused()
	}
}
