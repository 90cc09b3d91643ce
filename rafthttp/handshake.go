package rafthttp

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"canopy/raft"
)

// The versions of the peer protocol that this program speaks. A connection uses the highest one that both sides speak.
const (
	versionMin = 1
	versionMax = 1
)

const (
	streamPath   = "/canopy/peer/stream"
	snapshotPath = "/canopy/peer/snapshot"
	upgradeToken = "canopy-peer"
)

// The headers of a handshake. Those that begin with X- have the names of the reference.
const (
	headerCluster       = "X-Etcd-Cluster-Id"
	headerFrom          = "X-Server-From"
	headerTo            = "X-Raft-To"
	headerVersion       = "X-Server-Version"
	headerPeerURLs      = "X-Peerurls"
	headerProtocol      = "Canopy-Protocol"       // of the side that dials: lowest-highest; in an answer both are the version that is used
	headerIncarnation   = "Canopy-Incarnation"    // 32 hex digits
	headerToIncarnation = "Canopy-To-Incarnation" // if it is known
	headerLane          = "Canopy-Lane"
	headerTimes         = "Canopy-Times"    // heartbeat-election, in milliseconds
	headerSnapshot      = "Canopy-Snapshot" // the message, in base64
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

// hello is what one side states about itself and about the other side.
type hello struct {
	lowest, highest     uint64 // versions of the protocol
	cluster             uint64
	from, to            raft.MemberID
	incarnation         [16]byte
	expected            *[16]byte // incarnation of the other side; nil: not known
	version             string
	heartbeat, election time.Duration
}

func (h *hello) write(to http.Header) {
	to.Set(headerProtocol, fmt.Sprintf("%d-%d", h.lowest, h.highest))
	to.Set(headerCluster, strconv.FormatUint(h.cluster, 16))
	to.Set(headerFrom, strconv.FormatUint(uint64(h.from), 16))
	to.Set(headerTo, strconv.FormatUint(uint64(h.to), 16))
	to.Set(headerIncarnation, hex.EncodeToString(h.incarnation[:]))
	if h.expected != nil {
		to.Set(headerToIncarnation, hex.EncodeToString(h.expected[:]))
	}
	to.Set(headerVersion, h.version)
	to.Set(headerTimes, fmt.Sprintf("%d-%d", h.heartbeat.Milliseconds(), h.election.Milliseconds()))
}

// parseHello parses the headers of a handshake. The error names the header that is wrong.
func parseHello(from http.Header) (hello, error) {
	var h hello
	var err error
	if h.lowest, h.highest, err = parsePair(from, headerProtocol); err != nil {
		return hello{}, err
	}
	heartbeat, election, err := parsePair(from, headerTimes)
	if err != nil {
		return hello{}, err
	}
	h.heartbeat, h.election = time.Duration(heartbeat)*time.Millisecond, time.Duration(election)*time.Millisecond
	var member, to uint64
	for name, field := range map[string]*uint64{headerCluster: &h.cluster, headerFrom: &member, headerTo: &to} {
		if *field, err = strconv.ParseUint(from.Get(name), 16, 64); err != nil {
			return hello{}, badHeader(from, name)
		}
	}
	h.from, h.to = raft.MemberID(member), raft.MemberID(to)
	if h.from == raft.None {
		return hello{}, badHeader(from, headerFrom)
	}
	incarnation, err := parseIncarnation(from, headerIncarnation)
	if err != nil || incarnation == nil {
		return hello{}, badHeader(from, headerIncarnation)
	}
	h.incarnation = *incarnation
	if h.expected, err = parseIncarnation(from, headerToIncarnation); err != nil {
		return hello{}, err
	}
	h.version = from.Get(headerVersion)
	if _, err := parseVersion(h.version); err != nil {
		return hello{}, badHeader(from, headerVersion)
	}
	return h, nil
}

// parsePair parses two numbers; the first is not greater than the second, and both are small enough for any use.
func parsePair(from http.Header, name string) (a, b uint64, err error) {
	first, second, _ := strings.Cut(from.Get(name), "-")
	a, errA := strconv.ParseUint(first, 10, 31)
	b, errB := strconv.ParseUint(second, 10, 31)
	if errA != nil || errB != nil || a > b {
		return 0, 0, badHeader(from, name)
	}
	return a, b, nil
}

func parseIncarnation(from http.Header, name string) (*[16]byte, error) {
	text := from.Get(name)
	if text == "" {
		return nil, nil
	}
	var id [16]byte
	if len(text) != hex.EncodedLen(len(id)) {
		return nil, badHeader(from, name)
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return nil, badHeader(from, name)
	}
	return &id, nil
}

func badHeader(from http.Header, name string) error {
	return fmt.Errorf("header %s: %.80q cannot be understood", name, from.Get(name))
}

// greet is the hello of this member to another one, whose incarnation may be nil.
func (t *Transport) greet(to raft.MemberID, expected *[16]byte) hello {
	return hello{versionMin, versionMax, t.o.Self.Cluster, t.o.Self.Member, to, t.o.Self.Incarnation, expected,
		t.o.ServerVersion, t.o.Heartbeat, t.o.Election}
}

// examine decides whether a member that has sent its hello may talk to this one.
func (t *Transport) examine(h *hello) *Refusal {
	self := t.o.Self
	switch {
	case h.highest < versionMin:
		return &Refusal{Reason: TooOld, Text: fmt.Sprintf("protocol versions are up to %d, here they begin at %d", h.highest, versionMin)}
	case h.lowest > versionMax:
		return &Refusal{Reason: TooNew, Text: fmt.Sprintf("protocol versions begin at %d, here they are up to %d", h.lowest, versionMax)}
	case h.cluster != self.Cluster:
		return &Refusal{Reason: OtherCluster, Text: fmt.Sprintf("member %x is of cluster %x, and %x of cluster %x",
			uint64(h.from), h.cluster, uint64(self.Member), self.Cluster)}
	case h.to != self.Member:
		return &Refusal{Reason: NotYou, Text: fmt.Sprintf("this is member %x, not %x", uint64(self.Member), uint64(h.to))}
	case h.from == self.Member:
		return &Refusal{Reason: Unknown, Text: fmt.Sprintf("member %x is this one itself", uint64(h.from))}
	case h.expected != nil && *h.expected != self.Incarnation:
		return &Refusal{Reason: NotMyIncarnation, Text: fmt.Sprintf("member %x does not have the data directory that you know, %x",
			uint64(self.Member), h.expected[:4])}
	}
	return t.o.Owner.Admit(h.from, h.incarnation)
}

// accept decides whether the member that answers is the one that was dialled, and may talk to this one.
func (t *Transport) accept(h *hello, to target) *Refusal {
	switch {
	case h.highest < versionMin || h.highest > versionMax:
		return &Refusal{Reason: TooNew, Text: fmt.Sprintf("version %d of the protocol was not offered", h.highest)}
	case h.cluster != t.o.Self.Cluster:
		return &Refusal{Reason: OtherCluster, Text: fmt.Sprintf("it is of cluster %x, not %x", h.cluster, t.o.Self.Cluster)}
	case h.from != to.id:
		return &Refusal{Reason: NotYou, Text: fmt.Sprintf("it is member %x, not %x", uint64(h.from), uint64(to.id))}
	case to.incarnation != nil && *to.incarnation != h.incarnation:
		return &Refusal{Reason: OtherIncarnation, Text: fmt.Sprintf("it lives its life %x, not %x", h.incarnation[:4], to.incarnation[:4])}
	}
	return t.o.Owner.Admit(h.from, h.incarnation)
}
