package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"canopy/etcdserver"
	"canopy/raft"
	"canopy/rafthttp"
)

// Member counts what a member reports.
func (s *Set) Member() etcdserver.Observer {
	return etcdserver.Observer{
		Synced: func(d time.Duration, last uint64) {
			s.Synced(d)
			s.LastIndexSaved.Set(float64(last))
		},
		Applied:       func(_ int, d time.Duration) { s.Applied(d) },
		SnapshotSaved: func(_ int64, d time.Duration) { s.Snapshotted(d, d) },
		Proposed: func(d time.Duration, err error) {
			if errors.Is(err, etcdserver.ErrTimeout) || errors.Is(err, etcdserver.ErrTimeoutLeaderFail) || errors.Is(err, etcdserver.ErrTimeoutConnection) {
				s.ProposalFailed()
				return
			}
			s.Proposed(d)
		},
		Waiting: s.SetPending,
		LeaderChanged: func(leader etcdserver.ID, _ bool) {
			if leader != 0 {
				s.LeaderChanges.Inc()
			}
		},
		Installed: func(int64) { s.Installed.Inc() },
		Refused:   s.MessagesRefused.Inc,
		Space: func(full bool) {
			if full {
				s.DiskFull.Set(1)
			} else {
				s.DiskFull.Set(0)
			}
		},
		Unusable: s.Unusable.Inc,
	}
}

// Transport counts what the transport of a member reports, in metrics that are
// registered with reg.
func Transport(reg prometheus.Registerer, self raft.MemberID) rafthttp.Observer {
	set := NewPeers(reg, uint64(self), rafthttp.Reasons()...)
	of := func(peer raft.MemberID) *Peer { return set.Of(uint64(peer)) }
	return rafthttp.Observer{
		Sent:         func(peer raft.MemberID, bytes int) { of(peer).Sent.Add(float64(bytes)) },
		Received:     func(peer raft.MemberID, bytes int) { of(peer).Received.Add(float64(bytes)) },
		RoundTrip:    func(peer raft.MemberID, d time.Duration) { of(peer).RoundTrip.Observe(d.Seconds()) },
		Added:        func(peer raft.MemberID) { set.Add(uint64(peer)) },
		Removed:      func(peer raft.MemberID) { set.Remove(uint64(peer)) },
		Active:       func(peer raft.MemberID, active bool) { of(peer).SetActive(active) },
		Failed:       func(peer raft.MemberID) { of(peer).Failures.Inc() },
		Dropped:      func(peer raft.MemberID) { of(peer).Drops.Inc() },
		Refused:      func(_ raft.MemberID, reason rafthttp.Reason) { set.Refused(reason.String()) },
		SnapshotSent: func(peer raft.MemberID, _ int64, d time.Duration, err error) { of(peer).SnapshotSent(d, err) },
	}
}
