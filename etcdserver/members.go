package etcdserver

import "canopy/etcdserver/replica"

// What the API of this package has from the replicated state.
type (
	// ID is the number of a member or of a cluster.
	ID = replica.ID
	// MemberInfo is one member as the cluster knows it.
	MemberInfo = replica.MemberInfo
)
