package raft

import (
	"slices"

	"canopy/raft/assert"
)

// durability tells what is decided, what is handed out to be written, and what is on disk.
//
//	done <= seq,  writes have the numbers (done, seq]
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

// dirty tells whether there is something to write. A new commit index alone causes no write: the next write has it, and after a
// restart the member learns it again.
func (m *Machine) dirty() bool {
	d := &m.disk
	return m.log.Handed < m.log.Last() || m.term != d.written.Term || m.vote != d.written.Vote ||
		d.snapshot != nil && !d.handed
}

// nextWrite hands out what has changed since the last write. A long write comes in parts, each with its own seq, so that a small
// disk does not need room for all of it at once.
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

// decideWrites makes one write, or several, of all that has changed. Messages that wait for all of it wait for the last.
func (m *Machine) decideWrites() {
	d := &m.disk
	first := d.seq + 1
	box := &writeBox{}
	if d.snapshot != nil && !d.handed {
		d.handed = true
		box.write.Snapshot = d.snapshot
	}
	if m.log.Handed < m.log.Last() {
		box.write.Entries = m.log.Slice(m.log.Handed, m.log.Last())
		m.log.Handed = m.log.Last()
	}
	last := m.splitWrite(&box.write)
	if hard := m.hardState(); hard != d.written {
		d.written = hard
		box.hard = hard
		last.HardState = &box.hard
	}
	d.writes[len(d.writes)-1].upTo = m.log.Last()
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
			bytes += w.Entries[n].Size()
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
	assert.That(seq <= d.seq, "a durable write was handed out", seq, d.seq)
	n := 0
	for ; n < len(d.writes) && d.writes[n].seq <= seq; n++ {
		w := d.writes[n]
		m.log.Durable = max(m.log.Durable, w.upTo)
		if w.snapshot != nil && w.snapshot == d.snapshot {
			d.snapshot, m.install = nil, w.snapshot
		}
	}
	d.writes = slices.Delete(d.writes, 0, n)
	d.done = max(d.done, seq)
	assert.That(m.log.Durable <= m.log.Last(), "what is durable is in the log", m.log.Durable, m.log.Last())
	m.release()
	m.advanceCommit()
}

// release sends what waited for writes that are done. A message to the member itself is its own vote, which now counts.
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

// sendDurable sends a message once all that is decided is on disk. An acknowledgement replaces an earlier one to the same leader
// that waits for the same write.
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

// sendNow sends a message for which nothing more must be written.
func (m *Machine) sendNow(to MemberID, msg Message) {
	if reply, ok := msg.(AppendReply); ok && reply.Term == m.term {
		m.following.acknowledged = max(m.following.acknowledged, reply.Match)
	}
	m.send(to, msg)
}

// forget lowers what pending writes will make durable: the log after an index was replaced, and must be written again.
func (d *durability) forget(after Index) {
	for i := range d.writes {
		d.writes[i].upTo = min(d.writes[i].upTo, after)
	}
}
