package etcdserver

import (
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
)

// What the API of this package has from those below it.
type (
	// ID is the number of a member or of a cluster.
	ID = replica.ID
	// MemberInfo is one member as the cluster knows it.
	MemberInfo = replica.MemberInfo
	// Force says whether a member is to found a cluster of its own from its data.
	Force = datadir.Force
	// DataDirError says why a data directory cannot be used, and what to do.
	DataDirError = datadir.Error
)
