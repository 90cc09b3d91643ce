// Package cluster serves what the client API tells of a member and its cluster: members and their changes, statistics,
// version, health, and what debuggers read. It also has the few paths of the peer port that other programs read (peer.go).
package cluster

import (
	"context"
	"net/http"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/metrics"
	"canopy/store"
)

// Member is what this package needs of a member.
type Member interface {
	Cluster
	Condition
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

// HealthTimeoutDefault is how long /health waits for an answer of the cluster, if nothing else is said.
const HealthTimeoutDefault = time.Second

// Handler has a method for each path.
type Handler struct {
	Member  Member
	Answers *answer.Writer
	Metrics *metrics.Set

	Program       string // our own version, shown as X-Canopy-Version by /version; "" leaves the header out
	HealthTimeout time.Duration
	CommandLine   []string
	FileLimit     uint64
	SetLogLevel   func(string) error // with the name of a logrus level

	// Admit tells whether a request is one of root, and answers it otherwise.
	Admit func(http.ResponseWriter, *http.Request) bool
	// SkipBody reads a body without a meaning to its end.
	SkipBody func(http.ResponseWriter, *http.Request) error
}

// AsRoot serves a request only of one who has the role root, while users and roles matter.
func (h *Handler) AsRoot(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.Admit(w, r) {
			serve(w, r)
		}
	}
}
