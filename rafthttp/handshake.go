package rafthttp

import (
	"fmt"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

const (
	streamPath   = "/canopy/peer/stream"
	snapshotPath = "/canopy/peer/snapshot"
	upgradeToken = "canopy-peer"
)

// laneKind is one of the streams of a peer.
type laneKind uint8

// The lanes, and their number.
const (
	controlLane laneKind = iota
	logLane
	laneKinds = 2
)

// String gives the name on the wire.
func (l laneKind) String() string {
	if l == controlLane {
		return "control"
	}
	return "log"
}

// newHello is the hello of this member to another one, whose incarnation may be nil.
func (t *Transport) newHello(to raft.MemberID, expected *[16]byte) wire.Hello {
	return wire.Hello{
		Lowest: wire.VersionMin, Highest: wire.VersionMax, Cluster: t.o.Self.Cluster, From: t.o.Self.Member, To: to,
		Incarnation: t.o.Self.Incarnation, Expected: expected, Version: t.o.ServerVersion, Heartbeat: t.o.Heartbeat, Election: t.o.Election,
	}
}

// checkDialer decides whether a member that has sent its hello may talk to this one.
func (t *Transport) checkDialer(h *wire.Hello) *Refusal {
	self := t.o.Self
	switch {
	case h.Highest < wire.VersionMin:
		return &Refusal{Reason: TooOld, Text: fmt.Sprintf("protocol versions are up to %d, here they begin at %d", h.Highest, wire.VersionMin)}
	case h.Lowest > wire.VersionMax:
		return &Refusal{Reason: TooNew, Text: fmt.Sprintf("protocol versions begin at %d, here they are up to %d", h.Lowest, wire.VersionMax)}
	case h.Cluster != self.Cluster:
		return &Refusal{Reason: OtherCluster, Text: fmt.Sprintf("member %x is of cluster %x, and %x of cluster %x",
			uint64(h.From), h.Cluster, uint64(self.Member), self.Cluster)}
	case h.To != self.Member:
		return &Refusal{Reason: NotYou, Text: fmt.Sprintf("this is member %x, not %x", uint64(self.Member), uint64(h.To))}
	case h.From == self.Member:
		return &Refusal{Reason: Unknown, Text: fmt.Sprintf("member %x is this one itself", uint64(h.From))}
	case h.Expected != nil && *h.Expected != self.Incarnation:
		return &Refusal{Reason: NotMyIncarnation, Text: fmt.Sprintf("member %x does not have the data directory that you know, %x",
			uint64(self.Member), h.Expected[:4])}
	}
	return t.o.Owner.Admit(h.From, h.Incarnation)
}

// checkAcceptor decides whether the member that answers is the one that was dialled, and may talk to this one.
func (t *Transport) checkAcceptor(h *wire.Hello, to target) *Refusal {
	switch {
	case h.Highest < wire.VersionMin || h.Highest > wire.VersionMax:
		return &Refusal{Reason: TooNew, Text: fmt.Sprintf("version %d of the protocol was not offered", h.Highest)}
	case h.Cluster != t.o.Self.Cluster:
		return &Refusal{Reason: OtherCluster, Text: fmt.Sprintf("it is of cluster %x, not %x", h.Cluster, t.o.Self.Cluster)}
	case h.From != to.id:
		return &Refusal{Reason: NotYou, Text: fmt.Sprintf("it is member %x, not %x", uint64(h.From), uint64(to.id))}
	case to.incarnation != nil && *to.incarnation != h.Incarnation:
		return &Refusal{Reason: OtherIncarnation, Text: fmt.Sprintf("it has incarnation %x, not %x", h.Incarnation[:4], to.incarnation[:4])}
	}
	return t.o.Owner.Admit(h.From, h.Incarnation)
}
