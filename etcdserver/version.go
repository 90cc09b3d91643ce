package etcdserver

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
)

// Versions that the member tells (S20): those of the API it speaks.
const (
	APIVersion     = "2.3.8"
	ClusterVersion = "2.3.0"
)

// oldestClusterVersion is what a cluster begins with while not all its members
// have told their version (S22).
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

// negotiate keeps the cluster version at the lowest that a member has: what is
// newer than that must not be written to the log. Only the leader decides, and
// it never lowers the version again.
func (m *Member) negotiate(ctx context.Context) error {
	tick := time.NewTicker(negotiateEvery)
	defer tick.Stop()
	for {
		if next, changed := nextVersion(m.ClusterVersion(), m.Members()); changed && m.IsLeader() {
			before := m.ClusterVersion()
			if _, err := m.propose(ctx, &pb.Request{ClusterVersion: next}, false); err == nil {
				m.log.versionSet(before, next)
			}
		}
		select {
		case <-tick.C:
		case <-m.versionMayChange:
		case <-ctx.Done():
			return errLoopDone
		}
	}
}

// wakeNegotiation has the versions compared now.
func (m *Member) wakeNegotiation() {
	select {
	case m.versionMayChange <- struct{}{}:
	default:
	}
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
