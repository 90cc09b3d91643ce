package etcdserver

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/replica"
)

// Versions of the API that the member speaks (S20).
const (
	APIVersion     = "2.3.8"
	ClusterVersion = "2.3.0"
)

// oldestClusterVersion is the version of a cluster of which not all members have
// published theirs (S22).
const oldestClusterVersion = ClusterVersion

// negotiateEvery is how often the leader compares the members' versions (S21).
const negotiateEvery = 500 * time.Millisecond

// version is major.minor of a version text.
type version struct{ major, minor int }

func parseVersion(text string) (version, bool) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 2 {
		return version{}, false
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	return version{major, minor}, errMajor == nil && errMinor == nil
}

func (v version) compare(w version) int {
	return cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor))
}

func (v version) String() string { return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minor) + ".0" }

// negotiator keeps the cluster version at the lowest that a member has: what is newer than
// that must not be written to the log. Only the leader decides, and it never lowers the
// version again. Any goroutine may call wake and membersChanged; only the goroutine of run
// calls the other methods.
type negotiator struct {
	status   *status
	requests *requests
	log      memberlog.Log

	mayChange chan struct{} // has room for one
	known     chan struct{} // closed once the cluster version is decided
	once      sync.Once     // of known
}

func newNegotiator(s *status, r *requests, log memberlog.Log) *negotiator {
	return &negotiator{status: s, requests: r, log: log, mayChange: make(chan struct{}, 1), known: make(chan struct{})}
}

func (n *negotiator) run(ctx context.Context) error {
	tick := time.NewTicker(negotiateEvery)
	defer tick.Stop()
	for {
		if next, changed := nextVersion(n.status.ClusterVersion(), n.status.Members()); changed && n.status.IsLeader() {
			before := n.status.ClusterVersion()
			if _, err := n.requests.propose(ctx, &pb.Request{Kind: &pb.Request_ClusterVersion{ClusterVersion: next}}); err == nil {
				n.log.VersionSet(before, next)
			}
		}
		select {
		case <-tick.C:
		case <-n.mayChange:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake makes the negotiator compare the versions now.
func (n *negotiator) wake() {
	select {
	case n.mayChange <- struct{}{}:
	default:
	}
}

// membersChanged is told that the list of members has changed.
func (n *negotiator) membersChanged(m *replica.Membership) {
	if m.Version != "" {
		n.once.Do(func() { close(n.known) })
	}
	n.wake()
}

// nextVersion is the cluster version that fits the members, if it is higher
// than the present one.
func nextVersion(present string, members []MemberInfo) (string, bool) {
	lowest, decided := version{}, false
	for _, info := range members {
		v, known := parseVersion(info.ServerVersion)
		if !known {
			decided = false
			break
		}
		if !decided || v.compare(lowest) < 0 {
			lowest, decided = v, true
		}
	}
	before, set := parseVersion(present)
	switch {
	case decided && (!set || lowest.compare(before) > 0):
		return lowest.String(), true
	case !decided && !set && len(members) > 0:
		return oldestClusterVersion, true
	}
	return "", false
}
