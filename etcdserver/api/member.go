package api

import (
	"context"

	"canopy/etcdserver"
	"canopy/etcdserver/api/backup"
	"canopy/etcdserver/api/cluster"
	"canopy/etcdserver/auth"
	"canopy/store"
	"canopy/store/watch"
)

// A Member is what the client API needs of a cluster member.
type Member interface {
	Keys
	Accounts
	cluster.Member
	backup.Member
}

// Keys is the way to the replicated store.
type Keys interface {
	// DoFor carries a command through the log, and returns once it is applied here. Its errors are *store.Error and those of
	// package etcdserver. The end of ctx does not revoke the command (K125).
	// It is checked again when it is applied, if users or roles have changed since its origin was allowed to (A63).
	DoFor(ctx context.Context, from etcdserver.Origin, c store.Command) (etcdserver.Applied, error)
	// Read gives the present view of this member or, if linearizable, one of a moment after the call (K43).
	Read(ctx context.Context, linearizable bool) (*store.View, error)
	Watch(k store.Key, o watch.Options) (*watch.Watcher, error)
	CountGet(ok bool) // a plain or quorum read was answered (S12)
	Now() store.Time  // log time, for ttl numbers (K82)
	// Position is the last applied entry of the log.
	Position() (raftIndex, raftTerm uint64)
}

// Accounts is the way to users, roles and tokens.
type Accounts interface {
	Auth() *auth.State // as of what reads show
	// AuthChanged is closed at the next change of it.
	AuthChanged() <-chan struct{}
	ChangeAuth(ctx context.Context, from etcdserver.Origin, op auth.Operation) (auth.Result, error)
}
