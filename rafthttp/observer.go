package rafthttp

import (
	"time"

	"canopy/raft"
)

// Observer gets what operators measure. Each field may be nil. Goroutines of the transport call the functions, which must
// return at once.
type Observer struct {
	Sent         func(peer raft.MemberID, bytes int)       // on streams
	Received     func(peer raft.MemberID, bytes int)       // on streams
	RoundTrip    func(peer raft.MemberID, d time.Duration) // of a ping
	Added        func(peer raft.MemberID)                  // to the peers that are dialled
	Removed      func(peer raft.MemberID)                  // from the peers that are dialled; calls for it that are under way may still come
	Active       func(peer raft.MemberID, active bool)     // has changed
	Failed       func(peer raft.MemberID)                  // an attempt to connect, or a connection
	Dropped      func(peer raft.MemberID)                  // a message or envelope
	Refused      func(peer raft.MemberID, reason Reason)   // by this member
	SnapshotSent func(peer raft.MemberID, bytes int64, d time.Duration, err error)
}

func (o *Observer) sent(peer raft.MemberID, bytes int) {
	if o.Sent != nil {
		o.Sent(peer, bytes)
	}
}

func (o *Observer) received(peer raft.MemberID, bytes int) {
	if o.Received != nil {
		o.Received(peer, bytes)
	}
}

func (o *Observer) roundTrip(peer raft.MemberID, d time.Duration) {
	if o.RoundTrip != nil {
		o.RoundTrip(peer, d)
	}
}

func (o *Observer) added(peer raft.MemberID) {
	if o.Added != nil {
		o.Added(peer)
	}
}

func (o *Observer) removed(peer raft.MemberID) {
	if o.Removed != nil {
		o.Removed(peer)
	}
}

func (o *Observer) active(peer raft.MemberID, active bool) {
	if o.Active != nil {
		o.Active(peer, active)
	}
}

func (o *Observer) failed(peer raft.MemberID) {
	if o.Failed != nil {
		o.Failed(peer)
	}
}

func (o *Observer) dropped(peer raft.MemberID) {
	if o.Dropped != nil {
		o.Dropped(peer)
	}
}

func (o *Observer) refused(peer raft.MemberID, reason Reason) {
	if o.Refused != nil {
		o.Refused(peer, reason)
	}
}

func (o *Observer) snapshotSent(peer raft.MemberID, bytes int64, d time.Duration, err error) {
	if o.SnapshotSent != nil {
		o.SnapshotSent(peer, bytes, d, err)
	}
}
