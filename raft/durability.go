package raft

import "slices"

// durability keeps apart what the machine has decided, what it has handed out to be written, and what is on disk.
type durability struct {
	seq      uint64         // of the last write handed out
	done     uint64         // of the last write known to be on disk
	writes   []pendingWrite // handed out, not done, in order
	held     []heldMessage  // to be sent when a write is done, in order of seq
	written  HardState      // as in the last write that held one
	snapshot *SnapshotMeta  // received, not known to be on disk
	handed   bool           // snapshot is in a write that was handed out
	parts    []*Write       // of one decision, not handed out yet
}

// pendingWrite is a write under way, and how far the log will be durable when it is done.
type pendingWrite struct {
	seq      uint64
	upTo     Index
	snapshot *SnapshotMeta
}

type heldMessage struct {
	seq uint64
	out Outbound
}

// writeBox makes a write and its hard state one allocation.
type writeBox struct {
	write Write
	hard  HardState
}

// dirty says whether there is something to be written. A new commit index alone is not worth a write: it is learnt
// again after a restart, and goes along with the next one.
func (m *Machine) dirty() bool {
	d := &m.disk
	return m.log.handed < m.log.last() || m.term != d.written.Term || m.vote != d.written.Vote ||
		d.snapshot != nil && !d.handed
}

// nextWrite hands out what has changed since the write before. What is long comes in parts, each of which has its own seq:
// a small disk need not have room for all of it at once.
func (m *Machine) nextWrite() *Write {
	d := &m.disk
	if len(d.parts) == 0 {
		if !m.dirty() {
			return nil
		}
		m.decideWrites()
	}
	next := d.parts[0]
	d.parts = slices.Delete(d.parts, 0, 1)
	return next
}

// decideWrites makes one write, or several, of all that has changed. What waits for all of it to be on disk waits for the last.
func (m *Machine) decideWrites() {
	d := &m.disk
	first := d.seq + 1
	box := &writeBox{}
	if d.snapshot != nil && !d.handed {
		d.handed = true
		box.write.Snapshot = d.snapshot
	}
	if m.log.handed < m.log.last() {
		box.write.Entries = m.log.slice(m.log.handed, m.log.last())
		m.log.handed = m.log.last()
	}
	last := m.splitWrite(&box.write)
	if hard := m.hardState(); hard != d.written {
		d.written = hard
		box.hard = hard
		last.HardState = &box.hard
	}
	d.writes[len(d.writes)-1].upTo = m.log.last()
	for i := len(d.held) - 1; i >= 0 && d.held[i].seq >= first; i-- {
		d.held[i].seq = d.seq
	}
}

// splitWrite queues a write in parts, and returns the last.
func (m *Machine) splitWrite(w *Write) *Write {
	d := &m.disk
	for {
		n, bytes := 0, int64(0)
		for n < len(w.Entries) && (n == 0 || bytes < m.config.MaxWriteBytes) {
			bytes += w.Entries[n].size()
			n++
		}
		d.seq++
		w.Seq = d.seq
		rest := w.Entries[n:]
		w.Entries = w.Entries[:n:n]
		pending := pendingWrite{seq: d.seq, snapshot: w.Snapshot}
		if n > 0 {
			pending.upTo = w.Entries[n-1].Index
		}
		d.writes = append(d.writes, pending)
		d.parts = append(d.parts, w)
		if len(rest) == 0 {
			return w
		}
		w = &Write{Entries: rest}
	}
}

func (m *Machine) hardState() HardState { return HardState{m.term, m.vote, m.commit} }

// Durable tells that the write of this seq, and all before it, are on disk and will be found by recovery.
func (m *Machine) Durable(seq uint64) {
	d := &m.disk
	assert(seq <= d.seq, "a durable write was handed out", seq, d.seq)
	n := 0
	for ; n < len(d.writes) && d.writes[n].seq <= seq; n++ {
		w := d.writes[n]
		m.log.durable = max(m.log.durable, w.upTo)
		if w.snapshot != nil && w.snapshot == d.snapshot {
			d.snapshot, m.install = nil, w.snapshot
		}
	}
	d.writes = slices.Delete(d.writes, 0, n)
	d.done = max(d.done, seq)
	assert(m.log.durable <= m.log.last(), "what is durable is in the log", m.log.durable, m.log.last())
	m.release()
	m.advanceCommit()
}

// release sends what waited for writes that are done. A message to the member itself is its own vote, which counts
// from now on.
func (m *Machine) release() {
	d := &m.disk
	n := 0
	for ; n < len(d.held) && d.held[n].seq <= d.done; n++ {
		out := d.held[n].out
		if vote, ok := out.Message.(VoteReply); ok && out.To == m.id {
			m.countVote(m.id, vote.Term, vote.Granted)
			continue
		}
		m.sendNow(out.To, out.Message)
	}
	d.held = slices.Delete(d.held, 0, n)
}

// sendDurable sends a message once all that was decided so far is on disk. Later acknowledgements of the same leader
// replace earlier ones that wait for the same write.
func (m *Machine) sendDurable(to MemberID, msg Message) {
	d := &m.disk
	seq := d.seq
	if m.dirty() {
		seq++
	}
	if seq <= d.done && to != m.id {
		m.sendNow(to, msg)
		return
	}
	if n := len(d.held); n > 0 && d.held[n-1].seq == seq && d.held[n-1].out.To == to {
		now, isReply := msg.(AppendReply)
		before, wasReply := d.held[n-1].out.Message.(AppendReply)
		if isReply && wasReply && before.Term == now.Term {
			now.Match = max(now.Match, before.Match)
			d.held[n-1].out.Message = now
			return
		}
	}
	d.held = append(d.held, heldMessage{seq, Outbound{to, msg}})
}

// sendNow sends a message whose promise is on disk.
func (m *Machine) sendNow(to MemberID, msg Message) {
	if reply, ok := msg.(AppendReply); ok && reply.Term == m.term {
		m.following.acknowledged = max(m.following.acknowledged, reply.Match)
	}
	m.send(to, msg)
}

// forget takes back what writes under way will have made durable: the log after an index was replaced, and is to be
// written again.
func (d *durability) forget(after Index) {
	for i := range d.writes {
		d.writes[i].upTo = min(d.writes[i].upTo, after)
	}
}
