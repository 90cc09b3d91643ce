package etcdserver

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
)

// MemberInfo is one member as the cluster knows it (M1). URL lists are sorted.
type MemberInfo struct {
	ID            ID
	Name          string // "" until the member has published for the first time (M3)
	PeerURLs      []string
	ClientURLs    []string
	ServerVersion string // as published; "" before
	Learner       bool   // follows the log without a vote, until it is promoted (M36)

	incarnation []byte // of its data directory, as published first; nil before
}

// membership is the part of the replicated state that says who the members
// are. It is immutable: each change makes a new one, so that readers need no
// lock and a snapshot is a pointer kept.
type membership struct {
	members map[ID]MemberInfo
	removed map[ID]removal
	version string // the cluster version, major.minor.0; "" until decided (S21)
}

// removal is the entry that removed a member.
type removal struct {
	term  raft.Term
	index raft.Index
}

func newMembership() *membership {
	return &membership{members: map[ID]MemberInfo{}, removed: map[ID]removal{}}
}

func (m *membership) clone() *membership {
	return &membership{members: maps.Clone(m.members), removed: maps.Clone(m.removed), version: m.version}
}

// list gives all members by numeric id (M8).
func (m *membership) list() []MemberInfo {
	all := slices.Collect(maps.Values(m.members))
	slices.SortFunc(all, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (m *membership) withMember(info MemberInfo) *membership {
	c := m.clone()
	c.members[info.ID] = info
	return c
}

// published takes over what a member says of itself. Unknown and removed
// members are left out (M5), and so is one that has lost its data: who speaks
// under its id is another one.
func (m *membership) published(a *pb.Attributes) (*membership, bool) {
	info, ok := m.members[ID(a.Member)]
	if !ok || info.incarnation != nil && !bytes.Equal(info.incarnation, a.Incarnation) {
		return m, false
	}
	// The strings are parts of a whole message of the leader, which they must not keep in memory.
	info.Name, info.ClientURLs, info.ServerVersion = strings.Clone(a.Name), nil, strings.Clone(a.ServerVersion)
	for _, url := range slices.Sorted(slices.Values(a.ClientUrls)) {
		info.ClientURLs = append(info.ClientURLs, strings.Clone(url))
	}
	if len(a.Incarnation) > 0 {
		info.incarnation = bytes.Clone(a.Incarnation)
	}
	return m.withMember(info), true
}

func (m *membership) without(id ID, by removal) *membership {
	c := m.clone()
	delete(c.members, id)
	c.removed[id] = by
	return c
}

func (m *membership) withVersion(v string) *membership {
	c := m.clone()
	c.version = v
	return c
}

// ownerOf gives the member that has one of the peer URLs, compared as strings
// (M18); but is left out.
func (m *membership) ownerOf(urls []string, but ID) (ID, bool) {
	for id, info := range m.members {
		if id != but && slices.ContainsFunc(info.PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return id, true
		}
	}
	return 0, false
}

func (i MemberInfo) toProto() *pb.Member {
	return &pb.Member{
		Id: uint64(i.ID), Name: i.Name, PeerUrls: i.PeerURLs, ClientUrls: i.ClientURLs,
		Incarnation: i.incarnation, ServerVersion: i.ServerVersion,
	}
}

func memberFromProto(p *pb.Member) MemberInfo {
	info := MemberInfo{
		ID:            ID(p.Id),
		Name:          p.Name,
		PeerURLs:      slices.Sorted(slices.Values(p.PeerUrls)),
		ClientURLs:    slices.Sorted(slices.Values(p.ClientUrls)),
		ServerVersion: p.ServerVersion,
	}
	if len(p.Incarnation) > 0 {
		info.incarnation = bytes.Clone(p.Incarnation)
	}
	return info
}

func (m *membership) toProto(head *pb.SnapshotHead) {
	for _, info := range m.list() {
		head.Members = append(head.Members, info.toProto())
	}
	for _, id := range slices.Sorted(maps.Keys(m.removed)) {
		by := m.removed[id]
		head.Removed = append(head.Removed, &pb.Removal{Member: uint64(id), Term: uint64(by.term), Index: uint64(by.index)})
	}
	head.ClusterVersion = m.version
}

func membershipFromProto(head *pb.SnapshotHead) *membership {
	m := newMembership()
	for _, p := range head.Members {
		m.members[ID(p.Id)] = memberFromProto(p)
	}
	for _, p := range head.Removed {
		m.removed[ID(p.Member)] = removal{term: raft.Term(p.Term), index: raft.Index(p.Index)}
	}
	m.version = head.ClusterVersion
	return m
}
