package etcdserver

import (
	"maps"
	"slices"

	pb "canopy/etcdserver/etcdserverpb"
)

// MemberInfo is one member as the cluster knows it (M1). URL lists are sorted.
type MemberInfo struct {
	ID         ID
	Name       string // "" until the member has published for the first time (M3)
	PeerURLs   []string
	ClientURLs []string
}

// membership is the part of the replicated state that says who the members
// are. It is immutable: each change makes a new one, so that readers need no
// lock and a snapshot is a pointer kept.
type membership struct {
	members map[ID]MemberInfo
	removed map[ID]bool
	version string // the cluster version, major.minor.0; "" until decided (S21)
}

func (m *membership) clone() *membership {
	return &membership{members: maps.Clone(m.members), removed: maps.Clone(m.removed), version: m.version}
}

// list gives all members by numeric id (M8).
func (m *membership) list() []MemberInfo {
	all := slices.Collect(maps.Values(m.members))
	slices.SortFunc(all, func(a, b MemberInfo) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

func (m *membership) withMember(info MemberInfo) *membership {
	c := m.clone()
	c.members[info.ID] = info
	return c
}

// published takes over what a member says of itself. Unknown and removed
// members are left out (M5).
func (m *membership) published(a *pb.Attributes) (*membership, bool) {
	info, ok := m.members[ID(a.Member)]
	if !ok {
		return m, false
	}
	info.Name, info.ClientURLs = a.Name, slices.Sorted(slices.Values(a.ClientUrls))
	return m.withMember(info), true
}

func (m *membership) without(id ID) *membership {
	c := m.clone()
	delete(c.members, id)
	c.removed[id] = true
	return c
}

func (m *membership) withVersion(v string) *membership {
	c := m.clone()
	c.version = v
	return c
}

func newMembership() *membership {
	return &membership{members: map[ID]MemberInfo{}, removed: map[ID]bool{}}
}

func (i MemberInfo) toProto() *pb.Member {
	return &pb.Member{Id: uint64(i.ID), Name: i.Name, PeerUrls: i.PeerURLs, ClientUrls: i.ClientURLs}
}

func memberFromProto(p *pb.Member) MemberInfo {
	return MemberInfo{
		ID:         ID(p.Id),
		Name:       p.Name,
		PeerURLs:   slices.Sorted(slices.Values(p.PeerUrls)),
		ClientURLs: slices.Sorted(slices.Values(p.ClientUrls)),
	}
}

func (m *membership) toProto(head *pb.SnapshotHead) {
	for _, info := range m.list() {
		head.Members = append(head.Members, info.toProto())
	}
	for _, id := range slices.Sorted(maps.Keys(m.removed)) {
		head.Removed = append(head.Removed, uint64(id))
	}
	head.ClusterVersion = m.version
}

func membershipFromProto(head *pb.SnapshotHead) *membership {
	m := newMembership()
	for _, p := range head.Members {
		m.members[ID(p.Id)] = memberFromProto(p)
	}
	for _, id := range head.Removed {
		m.removed[ID(id)] = true
	}
	m.version = head.ClusterVersion
	return m
}
