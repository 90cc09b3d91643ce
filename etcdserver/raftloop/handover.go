package raftloop

import (
	"context"
	"time"

	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Retire is for a member that is about to stop: from here on it takes no
// leadership, and it hands over as HandOver does.
func (f *Front) Retire(ctx context.Context) {
	retired := make(chan struct{})
	if !f.calls.Put(func(l *Loop) { l.machine.Retire(); close(retired) }) {
		return
	}
	select {
	case <-retired:
		f.HandOver(ctx)
	case <-ctx.Done():
	case <-f.stopped:
	}
}

// HandOver hands leadership to another member, if this one leads and there is
// one, and returns when that is done or ctx ends.
func (f *Front) HandOver(ctx context.Context) {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for {
		begun := make(chan bool, 1)
		if !f.calls.Put(func(l *Loop) { begun <- l.handOver() || l.isCandidate() }) {
			return
		}
		select {
		case ok := <-begun:
			if !ok {
				return
			}
		case <-ctx.Done():
			return
		case <-f.stopped:
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// HandOverTo begins to hand leadership to one member. Nothing happens if this member does
// not lead, or if the other one cannot lead now.
func (f *Front) HandOverTo(to replica.ID) {
	f.calls.Put(func(l *Loop) { _ = l.machine.TransferLeadership(to.Raft()) })
}

// isCandidate tells whether the member may lead in a moment.
func (l *Loop) isCandidate() bool { return l.machine.Status().Role == raft.Candidate }

// handOver begins to hand leadership to the voter with the longest log that is
// alive and has not declined; false if there is none, or this member does not lead.
func (l *Loop) handOver() bool {
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
