package wire

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"canopy/raft"
)

// The headers of a handshake. Those that begin with X- have the names of the reference.
const (
	HeaderCluster       = "X-Etcd-Cluster-Id"
	HeaderFrom          = "X-Server-From"
	HeaderTo            = "X-Raft-To"
	HeaderVersion       = "X-Server-Version"
	HeaderPeerURLs      = "X-Peerurls"
	HeaderProtocol      = "Canopy-Protocol"       // of the side that dials: lowest-highest; in an answer both are the version that is used
	HeaderIncarnation   = "Canopy-Incarnation"    // 32 hex digits
	HeaderToIncarnation = "Canopy-To-Incarnation" // if it is known
	HeaderLane          = "Canopy-Lane"
	HeaderTimes         = "Canopy-Times"    // heartbeat-election, in milliseconds
	HeaderSnapshot      = "Canopy-Snapshot" // the message, in base64
)

// A Hello is what one side states about itself and about the other side.
type Hello struct {
	Lowest, Highest     uint64 // versions of the protocol; Lowest <= Highest
	Cluster             uint64
	From, To            raft.MemberID
	Incarnation         [16]byte
	Expected            *[16]byte // incarnation of the other side; nil: not known
	Version             string    // of the server
	Heartbeat, Election time.Duration
}

// Write sets the headers of a handshake.
func (h *Hello) Write(to http.Header) {
	to.Set(HeaderProtocol, fmt.Sprintf("%d-%d", h.Lowest, h.Highest))
	to.Set(HeaderCluster, strconv.FormatUint(h.Cluster, 16))
	to.Set(HeaderFrom, strconv.FormatUint(uint64(h.From), 16))
	to.Set(HeaderTo, strconv.FormatUint(uint64(h.To), 16))
	to.Set(HeaderIncarnation, hex.EncodeToString(h.Incarnation[:]))
	if h.Expected != nil {
		to.Set(HeaderToIncarnation, hex.EncodeToString(h.Expected[:]))
	}
	to.Set(HeaderVersion, h.Version)
	to.Set(HeaderTimes, fmt.Sprintf("%d-%d", h.Heartbeat.Milliseconds(), h.Election.Milliseconds()))
}

// ParseHello parses the headers of a handshake. The error names the header that is wrong.
func ParseHello(from http.Header) (Hello, error) {
	var h Hello
	var err error
	if h.Lowest, h.Highest, err = parsePair(from, HeaderProtocol); err != nil {
		return Hello{}, err
	}
	heartbeat, election, err := parsePair(from, HeaderTimes)
	if err != nil {
		return Hello{}, err
	}
	h.Heartbeat, h.Election = time.Duration(heartbeat)*time.Millisecond, time.Duration(election)*time.Millisecond
	var member, to uint64
	for name, field := range map[string]*uint64{HeaderCluster: &h.Cluster, HeaderFrom: &member, HeaderTo: &to} {
		if *field, err = strconv.ParseUint(from.Get(name), 16, 64); err != nil {
			return Hello{}, BadHeader(from, name)
		}
	}
	h.From, h.To = raft.MemberID(member), raft.MemberID(to)
	if h.From == raft.None {
		return Hello{}, BadHeader(from, HeaderFrom)
	}
	incarnation, err := parseIncarnation(from, HeaderIncarnation)
	if err != nil || incarnation == nil {
		return Hello{}, BadHeader(from, HeaderIncarnation)
	}
	h.Incarnation = *incarnation
	if h.Expected, err = parseIncarnation(from, HeaderToIncarnation); err != nil {
		return Hello{}, err
	}
	h.Version = from.Get(HeaderVersion)
	if _, err := ParseVersion(h.Version); err != nil {
		return Hello{}, BadHeader(from, HeaderVersion)
	}
	return h, nil
}

// parsePair parses two numbers; the first is not greater than the second, and both are small enough for any use.
func parsePair(from http.Header, name string) (a, b uint64, err error) {
	first, second, _ := strings.Cut(from.Get(name), "-")
	a, errA := strconv.ParseUint(first, 10, 31)
	b, errB := strconv.ParseUint(second, 10, 31)
	if errA != nil || errB != nil || a > b {
		return 0, 0, BadHeader(from, name)
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
		return nil, BadHeader(from, name)
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return nil, BadHeader(from, name)
	}
	return &id, nil
}

// BadHeader is the error of a header that is missing or malformed.
func BadHeader(from http.Header, name string) error {
	return fmt.Errorf("header %s: %.80q cannot be understood", name, from.Get(name))
}
