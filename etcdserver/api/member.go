package api

import (
	"context"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/auth"
	"canopy/store"
	"canopy/store/watch"
)

// A Member is what the client API needs of a cluster member.
type Member interface {
	Keys
	Accounts
	Cluster
	Condition
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

// Cluster is what the member knows of its cluster without a request to others (M9).
type Cluster interface {
	ClusterID() etcdserver.ID
	ID() etcdserver.ID
	Members() []etcdserver.MemberInfo // by numeric ID
	Leader() etcdserver.ID            // 0 = unknown
	LeaderSince() time.Time
	ClusterVersion() string // "" until decided

	// A change returns once it is applied here. Its errors are those of package etcdserver.
	AddMember(ctx context.Context, peerURLs []string) (etcdserver.MemberInfo, error)
	UpdateMember(ctx context.Context, id etcdserver.ID, peerURLs []string) error
	PromoteMember(ctx context.Context, id etcdserver.ID) error
	RemoveMember(ctx context.Context, id etcdserver.ID) error

	Followers() []etcdserver.FollowerStats // of the other members, as this leader sees them (S9)
	Traffic() etcdserver.Traffic
}

// Condition is the condition of the member.
type Condition interface {
	Consensus() etcdserver.Consensus
	StartTime() time.Time
	Health(ctx context.Context) error     // nil after a read index was confirmed (S17)
	Differences() []etcdserver.Difference // members whose state differs from the one here
	StoreStats() store.Stats
	HistoryRange() (oldest, newest store.Index)
}
