package raft

import (
	"slices"

	"canopy/raft/quorum"
)

// readsMax bounds the reads that wait, on a follower and on a leader each.
const readsMax = 1 << 16

// readRequest is a read that waits on the leader: its own if from is the leader, else a follower's batch.
type readRequest struct {
	from MemberID
	ctx  uint64
}

// readRounds answers many reads with one exchange of heartbeats (6.4): reads that wait when a round begins share its index. A
// round begins when the one before is done.
type readRounds struct {
	waiting  []readRequest
	round    uint64        // number of the last round
	underway []readRequest // that it serves; empty: it is done
	index    Index         // the commit index when it began
}

// forwarding is a follower's side: its reads wait here while the leader answers.
type forwarding struct {
	waiting []uint64       // not asked for yet
	batches []forwardBatch // asked for
	last    uint64         // number of the last batch; begins at random, so that a late answer from before a restart does not match
}

type forwardBatch struct {
	number uint64
	ctxs   []uint64
	ticks  int // since it was asked for
}

// ReadIndex asks for the index that a linearizable read must include. The answer comes in Work.Reads, with the same context; or
// in Work.LostReads if the leader changed or a message was lost.
func (m *Machine) ReadIndex(ctx uint64) error {
	switch {
	case m.leading != nil:
		return m.leading.reads.add(readRequest{m.id, ctx})
	case m.leader == None:
		return ErrNoLeader
	case len(m.forwarding.waiting) >= readsMax:
		return ErrTooManyReads
	}
	m.forwarding.waiting = append(m.forwarding.waiting, ctx)
	return nil
}

func (r *readRounds) add(q readRequest) error {
	if len(r.waiting) >= readsMax {
		return ErrTooManyReads
	}
	r.waiting = append(r.waiting, q)
	return nil
}

// startReadRound answers the round that is confirmed, and begins the next one. A new leader waits until it has committed an entry of
// its term: before that, its commit index may be behind that of the leader before.
func (m *Machine) startReadRound() {
	r := &m.leading.reads
	for {
		if len(r.underway) > 0 && m.confirmedRound() >= r.round {
			m.answerReads(r.underway, r.index)
			r.underway = r.underway[:0]
		}
		if len(r.underway) > 0 || len(r.waiting) == 0 || !m.committedInTerm() {
			return
		}
		r.round++
		r.index = m.commit
		r.underway, r.waiting = r.waiting, r.underway
		m.broadcastHeartbeat()
	}
}

// confirmedRound is the last round in which a quorum confirmed that this member leads.
func (m *Machine) confirmedRound() uint64 {
	var few [9]uint64
	acks := few[:0]
	for _, id := range m.configs.Latest().Voters {
		if id == m.id {
			acks = append(acks, m.leading.reads.round)
		} else {
			acks = append(acks, m.leading.peer(id).Round)
		}
	}
	return quorum.Reached(acks)
}

func (m *Machine) answerReads(requests []readRequest, index Index) {
	for _, q := range requests {
		if q.from == m.id {
			m.reads = append(m.reads, Read{q.ctx, index})
		} else {
			m.send(q.from, ReadReply{m.term, q.ctx, index})
		}
	}
}

// forwardReads asks the leader for all reads that wait, as one batch.
func (m *Machine) forwardReads() {
	f := &m.forwarding
	if len(f.waiting) == 0 || m.leader == None {
		return
	}
	f.last++
	f.batches = append(f.batches, forwardBatch{number: f.last, ctxs: f.waiting})
	f.waiting = nil
	m.send(m.leader, ReadForward{m.term, f.last})
}

// onReadForward queues a follower's batch like a read. admit has checked that there is room.
func (m *Machine) onReadForward(from MemberID, msg ReadForward) {
	if m.leading != nil {
		m.leading.reads.waiting = append(m.leading.reads.waiting, readRequest{from, msg.Batch})
	}
}

// onReadReply answers the reads of a batch.
func (m *Machine) onReadReply(msg ReadReply) {
	f := &m.forwarding
	at := slices.IndexFunc(f.batches, func(b forwardBatch) bool { return b.number == msg.Batch })
	if at < 0 {
		return
	}
	for _, ctx := range f.batches[at].ctxs {
		m.reads = append(m.reads, Read{ctx, msg.Index})
	}
	f.batches = slices.Delete(f.batches, at, at+1)
}

// tickForwarding gives up batches that were not answered for an election time-out.
func (m *Machine) tickForwarding() {
	f := &m.forwarding
	for i := range f.batches {
		f.batches[i].ticks++
	}
	n := 0
	for n < len(f.batches) && f.batches[n].ticks > m.config.ElectionTicks {
		m.lostReads = append(m.lostReads, f.batches[n].ctxs...)
		n++
	}
	f.batches = slices.Delete(f.batches, 0, n)
}

// loseReads gives up all reads, because their leader leads no longer.
func (m *Machine) loseReads() {
	f := &m.forwarding
	for _, b := range f.batches {
		m.lostReads = append(m.lostReads, b.ctxs...)
	}
	m.lostReads = append(m.lostReads, f.waiting...)
	f.batches, f.waiting = nil, nil
	if m.leading == nil {
		return
	}
	for _, requests := range [][]readRequest{m.leading.reads.underway, m.leading.reads.waiting} {
		for _, q := range requests {
			if q.from == m.id {
				m.lostReads = append(m.lostReads, q.ctx)
			}
		}
	}
}
