// Package follower has what a leader knows of one follower, and how it sends entries to it: flow control, without a protocol.
//
//	Probing ──acknowledged──→ Replicating ──rejected, or lost──→ Probing
//	Probing, Replicating ──the log begins behind Next──→ SendingSnapshot ──delivered, or acknowledged──→ Probing, Replicating
package follower

import (
	"canopy/raft/membership"
	"canopy/raft/raftlog"
)

// A Progress is what a leader knows of one other member's log.
//
//	0 <= Match < Mode.Next()   unless a snapshot is being sent
type Progress struct {
	ID       membership.MemberID
	Match    raftlog.Index // the logs agree up to here, and the member's is durable; it never falls
	Told     raftlog.Index // the commit index that the member has been sent
	Round    uint64        // the last read round that the member confirmed
	Silent   int           // ticks since a message of the member came; at first more than an election time-out
	Quiet    int           // ticks since the last sign that something sent has arrived
	Leaves   raftlog.Index // the entry that removed the member, which must still learn it; 0: it is a member
	Since    int           // ticks since it was removed
	Declined int           // ticks for which it is no transferee, since it has declined a transfer
	Mode     Mode
}

// A Mode is how the member is sent entries: *Probing, *Replicating or *SendingSnapshot.
type Mode interface {
	// Next is the index of the first entry that was not sent.
	Next() raftlog.Index
	Name() Name
}

// A Name names a mode.
type Name string

// The names of the modes.
const (
	NameProbing         Name = "probing"     // the logs may differ before Next: one small message at a time, to find out
	NameReplicating     Name = "replicating" // the logs agree: many messages at a time, each behind the one before
	NameSendingSnapshot Name = "snapshot"    // only a snapshot has what it needs: nothing is sent until that has arrived
)

// Probing looks for the last entry on which the logs agree. A probe is small, so it can be lost or doubled without harm.
type Probing struct {
	From raftlog.Index // Match < From
	Sent bool
}

// Replicating sends entries without waiting for those before.
type Replicating struct {
	From     raftlog.Index // Match < From
	Received raftlog.Index // as the member said last; Match <= Received
	Window   Window
}

// SendingSnapshot waits for the owner to say that the snapshot was delivered, or for the member to acknowledge it.
type SendingSnapshot struct{ UpTo raftlog.Index }

// Next is the entry to probe.
func (s *Probing) Next() raftlog.Index { return s.From }

// Next is the first entry that was not sent.
func (s *Replicating) Next() raftlog.Index { return s.From }

// Next is the first entry behind the snapshot.
func (s *SendingSnapshot) Next() raftlog.Index { return s.UpTo + 1 }

// Name is NameProbing.
func (*Probing) Name() Name { return NameProbing }

// Name is NameReplicating.
func (*Replicating) Name() Name { return NameReplicating }

// Name is NameSendingSnapshot.
func (*SendingSnapshot) Name() Name { return NameSendingSnapshot }

// New is the progress of a member that is probed from an entry on, and was not heard for so many ticks.
func New(id membership.MemberID, next raftlog.Index, silent int) *Progress {
	return &Progress{ID: id, Silent: silent, Mode: &Probing{From: next}}
}

// Probe looks for the last entry on which the logs agree, from an entry on downwards. Whatever the member was told since its last
// acknowledgement may be lost.
func (p *Progress) Probe(from raftlog.Index) {
	p.Quiet = 0
	p.Told = min(p.Told, p.Match)
	p.Mode = &Probing{From: max(from, p.Match+1)}
}

// replicate sends what follows match.
func (p *Progress) replicate() {
	p.Quiet = 0
	p.Mode = &Replicating{From: p.Match + 1, Received: p.Match}
}

// SendSnapshot makes the member wait for a snapshot.
func (p *Progress) SendSnapshot(upTo raftlog.Index) {
	p.Quiet = 0
	p.Mode = &SendingSnapshot{upTo}
}

// Acknowledge moves Match, and the mode with it. logBase is where the leader's log begins.
func (p *Progress) Acknowledge(match, logBase raftlog.Index) {
	moved := match > p.Match
	if moved {
		p.Match = match
		p.Quiet = 0
	}
	switch mode := p.Mode.(type) {
	case *Probing:
		if match >= p.Match { // else it answers a message from before the probe
			p.replicate()
		}
	case *Replicating:
		mode.From = max(mode.From, p.Match+1)
		mode.Received = max(mode.Received, p.Match)
		mode.Window.release(p.Match)
	case *SendingSnapshot:
		if moved && p.Match >= logBase { // entries that were lost have arrived, so the snapshot is not needed
			p.replicate()
		}
	}
}

// PromoteLagMax is how many committed entries a learner may lack to be promoted. One or two messages carry them, so that the new
// quorum is not slower than the old one (4.2.1).
const PromoteLagMax = 1024

// CaughtUp tells whether a member has nearly all that is committed.
func (p *Progress) CaughtUp(commit raftlog.Index) bool {
	_, ok := p.Mode.(*Replicating)
	return ok && p.Match+PromoteLagMax >= commit
}

// A Window has the messages to a member that are not acknowledged: a ring, in which each has its last index.
//
//	0 <= Count <= len(ring),  Bytes is the sum over the messages
type Window struct {
	ring  []Flight
	first int
	Count int
	Bytes int64
}

// A Flight is one message that is not acknowledged.
type Flight struct {
	Last  raftlog.Index
	Bytes int64
}

// Full tells whether another message has to wait.
func (w *Window) Full(messagesMax int, bytesMax int64) bool {
	return w.Count >= messagesMax || w.Bytes >= bytesMax
}

// Add adds a message; messagesMax bounds the ring.
func (w *Window) Add(f Flight, messagesMax int) {
	if w.Count == len(w.ring) {
		grown := make([]Flight, min(max(8, 2*len(w.ring)), messagesMax))
		for i := range w.Count {
			grown[i] = w.ring[(w.first+i)%len(w.ring)]
		}
		w.ring, w.first = grown, 0
	}
	w.ring[(w.first+w.Count)%len(w.ring)] = f
	w.Count++
	w.Bytes += f.Bytes
}

// release removes the messages whose entries are all acknowledged.
func (w *Window) release(match raftlog.Index) {
	for w.Count > 0 && w.ring[w.first].Last <= match {
		w.Bytes -= w.ring[w.first].Bytes
		w.first = (w.first + 1) % len(w.ring)
		w.Count--
	}
}
