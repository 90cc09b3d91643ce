package raft

// progress is what a leader knows of one other member's log.
type progress struct {
	id       MemberID
	match    Index  // agrees with ours, and is durable there; never falls
	told     Index  // the commit index that the member has been sent
	round    uint64 // the last read round that it confirmed
	silent   int    // ticks since the member was heard; one that was never heard begins with more than an election time-out
	quiet    int    // ticks since something came of what was sent
	leaves   Index  // it was removed by this entry, and is only to learn that; 0 otherwise
	since    int    // ticks since it was removed
	declined int    // ticks for which it is no heir, since it has declined a hand-over
	mode     mode
}

// mode is how the member is sent entries: *probing, *replicating or *sendingSnapshot.
type mode interface {
	// next is the index of the first entry that was not sent.
	next() Index
	name() Mode
}

// Mode names how a leader sends entries to a member.
type Mode string

// The modes.
const (
	Probing         Mode = "probing"     // the logs may part before Next: one small message at a time, to find out
	Replicating     Mode = "replicating" // the logs agree: many messages at a time, each behind the one before
	SendingSnapshot Mode = "snapshot"    // what it needs is only in a snapshot: nothing, until that has arrived
)

// probing looks for the place where the logs part. A probe is small, so it can be lost or doubled without harm.
type probing struct {
	from Index
	sent bool
}

// replicating sends entries without waiting for those before. received follows HeartbeatReply.Received.
type replicating struct {
	from     Index
	received Index
	window   window
}

// sendingSnapshot waits for the owner to say that the snapshot was delivered, or for the member to acknowledge it.
type sendingSnapshot struct{ upTo Index }

func (s *probing) next() Index         { return s.from }
func (s *replicating) next() Index     { return s.from }
func (s *sendingSnapshot) next() Index { return s.upTo + 1 }

func (*probing) name() Mode         { return Probing }
func (*replicating) name() Mode     { return Replicating }
func (*sendingSnapshot) name() Mode { return SendingSnapshot }

func newProgress(id MemberID, next Index, silent int) *progress {
	return &progress{id: id, silent: silent, mode: &probing{from: next}}
}

// probe looks for the place where the logs part, from an index down. What was told since the last acknowledgement may be lost.
func (p *progress) probe(from Index) {
	p.quiet = 0
	p.told = min(p.told, p.match)
	p.mode = &probing{from: max(from, p.match+1)}
}

// replicate sends what follows match.
func (p *progress) replicate() {
	p.quiet = 0
	p.mode = &replicating{from: p.match + 1, received: p.match}
}

// acknowledge moves match, and the mode with it.
func (p *progress) acknowledge(match, logBase Index) {
	moved := match > p.match
	if moved {
		p.match = match
		p.quiet = 0
	}
	switch mode := p.mode.(type) {
	case *probing:
		if match >= p.match {
			p.replicate()
		}
	case *replicating:
		mode.from = max(mode.from, p.match+1)
		mode.received = max(mode.received, p.match)
		mode.window.release(p.match)
	case *sendingSnapshot:
		if moved && p.match >= logBase {
			p.replicate()
		}
	}
}

// caughtUp says whether a member has nearly all that is committed.
func (p *progress) caughtUp(commit Index) bool {
	_, ok := p.mode.(*replicating)
	return ok && p.match+promoteLagMax >= commit
}

// window holds what is on its way to a member: a ring of messages, each known by its last index.
type window struct {
	ring  []flight
	first int
	count int
	bytes int64
}

type flight struct {
	last  Index
	bytes int64
}

// full says whether another message has to wait.
func (w *window) full(messagesMax int, bytesMax int64) bool {
	return w.count >= messagesMax || w.bytes >= bytesMax
}

// add notes a message; messagesMax bounds the ring.
func (w *window) add(f flight, messagesMax int) {
	if w.count == len(w.ring) {
		grown := make([]flight, min(max(8, 2*len(w.ring)), messagesMax))
		for i := range w.count {
			grown[i] = w.ring[(w.first+i)%len(w.ring)]
		}
		w.ring, w.first = grown, 0
	}
	w.ring[(w.first+w.count)%len(w.ring)] = f
	w.count++
	w.bytes += f.bytes
}

// release forgets the messages whose entries are all acknowledged.
func (w *window) release(match Index) {
	for w.count > 0 && w.ring[w.first].last <= match {
		w.bytes -= w.ring[w.first].bytes
		w.first = (w.first + 1) % len(w.ring)
		w.count--
	}
}
