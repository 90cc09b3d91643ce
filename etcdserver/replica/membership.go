package replica

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
)

// ID is the number of a member or of a cluster. It prints as the v2 API shows
// it: lower-case hex without leading zeros (M2).
type ID uint64

// String gives the hex form.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// Raft is the id as raft has it.
func (id ID) Raft() raft.MemberID { return raft.MemberID(id) }

// MemberInfo is one member as the cluster knows it (M1). URL lists are sorted.
type MemberInfo struct {
	ID            ID
	Name          string // "" until the member has published for the first time (M3)
	PeerURLs      []string
	ClientURLs    []string
	ServerVersion string // as published; "" before
	Learner       bool   // follows the log without a vote, until it is promoted (M36)

	Incarnation []byte // of its data directory, as published first; nil before
}

// Membership is the part of the replicated state that says who the members
// are. It is immutable: each change makes a new one, so that readers need no
// lock and a snapshot is a pointer kept.
type Membership struct {
	Members map[ID]MemberInfo
	Removed map[ID]Removal
	Version string // the cluster version, major.minor.0; "" until decided (S21)
}

// Removal is the entry that removed a member.
type Removal struct {
	Term  raft.Term
	Index raft.Index
}

// NewMembership is a list of nobody.
func NewMembership() *Membership {
	return &Membership{Members: map[ID]MemberInfo{}, Removed: map[ID]Removal{}}
}

func (m *Membership) clone() *Membership {
	return &Membership{Members: maps.Clone(m.Members), Removed: maps.Clone(m.Removed), Version: m.Version}
}

// List gives all members by numeric id (M8).
func (m *Membership) List() []MemberInfo {
	all := slices.Collect(maps.Values(m.Members))
	slices.SortFunc(all, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// With gives the list with this member, added or replaced.
func (m *Membership) With(info MemberInfo) *Membership {
	c := m.clone()
	c.Members[info.ID] = info
	return c
}

// published takes over what a member says of itself. Unknown and removed
// members are left out (M5), and so is one that has lost its data: who speaks
// under its id is another one.
func (m *Membership) published(a *pb.Attributes) (*Membership, bool) {
	info, ok := m.Members[ID(a.Member)]
	if !ok || info.Incarnation != nil && !bytes.Equal(info.Incarnation, a.Incarnation) {
		return m, false
	}
	// The strings are parts of a whole message of the leader, which they must not keep in memory.
	info.Name, info.ClientURLs, info.ServerVersion = strings.Clone(a.Name), nil, strings.Clone(a.ServerVersion)
	for _, url := range slices.Sorted(slices.Values(a.ClientUrls)) {
		info.ClientURLs = append(info.ClientURLs, strings.Clone(url))
	}
	if len(a.Incarnation) > 0 {
		info.Incarnation = bytes.Clone(a.Incarnation)
	}
	return m.With(info), true
}

func (m *Membership) without(id ID, by Removal) *Membership {
	c := m.clone()
	delete(c.Members, id)
	c.Removed[id] = by
	return c
}

// WithVersion gives the list with this cluster version.
func (m *Membership) WithVersion(v string) *Membership {
	c := m.clone()
	c.Version = v
	return c
}

// OwnerOf gives the member that has one of the peer URLs, compared as strings
// (M18); but is left out.
func (m *Membership) OwnerOf(urls []string, but ID) (ID, bool) {
	for id, info := range m.Members {
		if id != but && slices.ContainsFunc(info.PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return id, true
		}
	}
	return 0, false
}

// Proto is what entries and snapshots have of a member.
func (i MemberInfo) Proto() *pb.Member {
	return &pb.Member{
		Id: uint64(i.ID), Name: i.Name, PeerUrls: i.PeerURLs, ClientUrls: i.ClientURLs,
		Incarnation: i.Incarnation, ServerVersion: i.ServerVersion,
	}
}

// MemberFromProto reads what Proto gave; it keeps no part of p.
func MemberFromProto(p *pb.Member) MemberInfo {
	info := MemberInfo{
		ID:            ID(p.Id),
		Name:          p.Name,
		PeerURLs:      slices.Sorted(slices.Values(p.PeerUrls)),
		ClientURLs:    slices.Sorted(slices.Values(p.ClientUrls)),
		ServerVersion: p.ServerVersion,
	}
	if len(p.Incarnation) > 0 {
		info.Incarnation = bytes.Clone(p.Incarnation)
	}
	return info
}

func (m *Membership) toProto(head *pb.SnapshotHead) {
	for _, info := range m.List() {
		head.Members = append(head.Members, info.Proto())
	}
	for _, id := range slices.Sorted(maps.Keys(m.Removed)) {
		by := m.Removed[id]
		head.Removed = append(head.Removed, &pb.Removal{Member: uint64(id), Term: uint64(by.Term), Index: uint64(by.Index)})
	}
	head.ClusterVersion = m.Version
}

func membershipFromProto(head *pb.SnapshotHead) *Membership {
	m := NewMembership()
	for _, p := range head.Members {
		m.Members[ID(p.Id)] = MemberFromProto(p)
	}
	for _, p := range head.Removed {
		m.Removed[ID(p.Member)] = Removal{Term: raft.Term(p.Term), Index: raft.Index(p.Index)}
	}
	m.Version = head.ClusterVersion
	return m
}

// Title names the member for people.
func (i MemberInfo) Title() string {
	if about := i.About(); about != "" {
		return fmt.Sprintf("%v (%s)", i.ID, about)
	}
	return i.ID.String()
}

// About is the name and the peer URLs, as far as they are known.
func (i MemberInfo) About() string {
	urls := strings.Join(i.PeerURLs, " ")
	switch {
	case i.Name == "":
		return urls
	case urls == "":
		return i.Name
	}
	return i.Name + ", " + urls
}
