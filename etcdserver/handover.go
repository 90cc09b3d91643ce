package etcdserver

import (
	"context"
	"time"

	"canopy/raft"
)

// Retire is for a member that is about to stop: from here on it takes no
// leadership, and it hands over as HandOver does.
func (m *Member) Retire(ctx context.Context) {
	retired := make(chan struct{})
	if !m.raft.calls.put(func() { m.raft.machine.Retire(); close(retired) }) {
		return
	}
	select {
	case <-retired:
		m.HandOver(ctx)
	case <-ctx.Done():
	case <-m.stopped:
	}
}

// HandOver hands leadership to another member, if this one leads and there is
// one, and returns when that is done or ctx ends.
func (m *Member) HandOver(ctx context.Context) {
	tick := time.NewTicker(m.options.Heartbeat)
	defer tick.Stop()
	for {
		begun := make(chan bool, 1)
		if !m.raft.calls.put(func() { begun <- m.raft.handOver() || m.raft.isCandidate() }) {
			return
		}
		select {
		case ok := <-begun:
			if !ok {
				return
			}
		case <-ctx.Done():
			return
		case <-m.stopped:
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// isCandidate tells whether the member may lead in a moment.
func (l *raftLoop) isCandidate() bool { return l.machine.Status().Role == raft.Candidate }

// handOver begins to hand leadership to the voter with the longest log that is
// alive and has not declined; false if there is none, or this member does not lead.
func (l *raftLoop) handOver() bool {
	status := l.machine.Status()
	var transferee raft.Progress
	for _, p := range status.Progress {
		if p.Active && !p.Declined && status.Configuration.IsVoter(p.ID) && p.Match >= transferee.Match {
			transferee = p
		}
	}
	if transferee.ID == raft.None || !l.leading {
		return false
	}
	if status.TransferTo == raft.None {
		l.requests.tickOwed = true
		l.proposeOwed() // the transferee counts leaderless time from here (R51)
	}
	return l.machine.TransferLeadership(transferee.ID) == nil || status.TransferTo != raft.None
}
