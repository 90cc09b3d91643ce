package etcdserver

import (
	"cmp"
	"fmt"
	"slices"

	"canopy/etcdserver/datadir"
)

// begin decides who this member is: one of the first members of a new cluster, or
// one that was added to a running cluster, whose log it has yet to learn.
func (o Options) begin() (datadir.Identity, error) {
	bootstrap, err := o.Bootstrap()
	if err != nil {
		return datadir.Identity{}, err
	}
	if joined := bootstrap.Joined; joined != nil {
		return datadir.Identity{Member: joined.Self, Cluster: joined.Cluster, Seeds: joined.Members}, nil
	}
	members, self, err := firstMembers(o, bootstrap)
	if err != nil {
		return datadir.Identity{}, err
	}
	var ids []ID
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return datadir.Identity{Member: self, Cluster: ClusterIDOf(ids), First: members}, nil
}

// firstMembers derives the members of a new cluster from its configuration.
func firstMembers(o Options, bootstrap Bootstrap) ([]MemberInfo, ID, error) {
	var members []MemberInfo
	var self ID
	for name, urls := range bootstrap.Cluster {
		m := MemberInfo{ID: MemberIDOf(urls, bootstrap.Token), PeerURLs: slices.Sorted(slices.Values(urls))}
		if id, given := bootstrap.IDs[name]; given {
			m.ID = id
		}
		if name == o.Name {
			self = m.ID
		}
		members = append(members, m)
	}
	if self == 0 {
		return nil, 0, fmt.Errorf("couldn't find local name %q in the initial cluster configuration", o.Name)
	}
	slices.SortFunc(members, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	for i := 1; i < len(members); i++ {
		if members[i].ID == members[i-1].ID {
			return nil, 0, fmt.Errorf("member exists with identical ID %v: the peer URLs %v and %v come to the same one; give one of the two members another URL, or the cluster another --initial-cluster-token",
				members[i].ID, members[i-1].PeerURLs, members[i].PeerURLs)
		}
	}
	return members, self, nil
}
