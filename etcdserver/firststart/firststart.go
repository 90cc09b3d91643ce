// Package firststart decides, before the first start of a member, which member of which
// cluster it is: one of the first members of a new cluster, or one that was added to a
// running cluster.
//
// The IDs of a new cluster are derived from its configuration (ids.go). A member asks
// the others before it starts: one of a new cluster, so that it does not begin again
// what it began before (B24); one that joins, to learn its ID (B30-B36).
package firststart

import (
	"cmp"
	"fmt"
	"slices"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
)

// Bootstrap says who the first members of a new cluster are, or which running
// cluster is joined.
type Bootstrap struct {
	Cluster map[string][]string   // peer URLs by name; the member's own name is among them
	Token   string                // goes into all IDs (B17)
	IDs     map[string]replica.ID // by name, where others have decided them (D25); nil: derived from URLs and Token
	Joined  *Joined               // not nil: the cluster runs, and was asked (B31)
}

// Identity decides who the member of a name is. A member that joins a running cluster
// gets its log from the others.
func Identity(name string, bootstrap Bootstrap) (datadir.Identity, error) {
	if joined := bootstrap.Joined; joined != nil {
		return datadir.Identity{Member: joined.Self, Cluster: joined.Cluster, Seeds: joined.Members}, nil
	}
	members, self, err := firstMembers(name, bootstrap)
	if err != nil {
		return datadir.Identity{}, err
	}
	var ids []replica.ID
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return datadir.Identity{Member: self, Cluster: ClusterIDOf(ids), First: members}, nil
}

// firstMembers derives the members of a new cluster from its configuration.
func firstMembers(own string, bootstrap Bootstrap) ([]replica.MemberInfo, replica.ID, error) {
	var members []replica.MemberInfo
	var self replica.ID
	for name, urls := range bootstrap.Cluster {
		m := replica.MemberInfo{ID: MemberIDOf(urls, bootstrap.Token), PeerURLs: slices.Sorted(slices.Values(urls))}
		if id, given := bootstrap.IDs[name]; given {
			m.ID = id
		}
		if name == own {
			self = m.ID
		}
		members = append(members, m)
	}
	if self == 0 {
		return nil, 0, fmt.Errorf("couldn't find local name %q in the initial cluster configuration", own)
	}
	slices.SortFunc(members, func(a, b replica.MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	for i := 1; i < len(members); i++ {
		if members[i].ID == members[i-1].ID {
			return nil, 0, fmt.Errorf("member exists with identical replica.ID %v: the peer URLs %v and %v come to the same one; give one of the two members another URL, or the cluster another --initial-cluster-token",
				members[i].ID, members[i-1].PeerURLs, members[i].PeerURLs)
		}
	}
	return members, self, nil
}
