package raft

import (
	"canopy/raft/assert"
)

// Work is what the owner must do now. Slices and entries in it are read-only and stay valid.
//
// Writes go to disk in order. Messages may be sent at once and in any order. Install and then Apply go to the state machine in
// order. The four may run concurrently.
type Work struct {
	Write     *Write        // to be made durable, then reported by Durable; nil: there is nothing to write
	Send      []Outbound    // messages; those that promise what a write holds come only after its Durable
	Install   *SnapshotMeta // this received snapshot replaces the state, before Apply
	Apply     []Entry       // committed and durable here; in order, each once
	Reads     []Read        // answers to ReadIndex
	LostReads []uint64      // contexts of ReadIndex that will not be answered: ask again
	Soft      *SoftState    // leader, role and term, when changed
}

// Write is what must be on disk before Durable(Seq) is called. The parts are written in the order Snapshot, Entries,
// HardState, so that a torn write never leaves a commit index beyond the log; any first part of a write may survive a
// crash. Entries may begin at or below entries written earlier: these and all behind them are replaced.
type Write struct {
	Seq       uint64        // one more than that of the write before
	HardState *HardState    // nil if unchanged
	Entries   []Entry       // to be appended at their index, replacing what is there and behind
	Snapshot  *SnapshotMeta // a received snapshot stands for all the log before; older entries are void
}

// Outbound is a message and where it goes.
type Outbound struct {
	To      MemberID
	Message Message
}

// Read answers a ReadIndex: a state that includes Index is recent enough for it.
type Read struct {
	Ctx   uint64
	Index Index
}

// SoftState is what users see of an election; it is not kept. The same member in another term counts as another leader: it may have
// lost what it was sent.
type SoftState struct {
	Leader MemberID // None if unknown
	Role   Role
	Term   Term
}

// Work hands out each piece of work once; false: there is none. Call it after any other method, until it gives false.
func (m *Machine) Work() (Work, bool) {
	m.lead()
	var w Work
	w.Write = m.nextWrite()
	w.Install, w.Apply = m.nextApply()
	w.Send, m.outbox = m.outbox, nil
	w.Reads, m.reads = m.reads, nil
	w.LostReads, m.lostReads = m.lostReads, nil
	if soft := (SoftState{m.leader, m.role(), m.term}); soft != m.soft {
		m.soft = soft
		w.Soft = new(soft)
	}
	some := w.Write != nil || w.Install != nil || w.Apply != nil || w.Send != nil ||
		w.Reads != nil || w.LostReads != nil || w.Soft != nil
	return w, some
}

// lead does what waits until work is collected, so that one message serves all events in between: it sends new entries, commit
// indexes and read rounds.
func (m *Machine) lead() {
	if m.leading == nil {
		m.forwardReads()
		return
	}
	m.startReadRound()
	m.replicate()
	m.leaveIfRemoved()
}

// nextApply gives what the state machine should do next.
func (m *Machine) nextApply() (*SnapshotMeta, []Entry) {
	if m.disk.snapshot != nil {
		return nil, nil // the log before the snapshot is gone, and the snapshot is not durable yet
	}
	install := m.install
	if install != nil {
		m.install = nil
		m.applying = install.Index
	}
	upTo := min(m.commit, m.log.Durable)
	if upTo <= m.applying {
		return install, nil
	}
	entries := m.log.Slice(m.applying, upTo)
	m.applying = upTo
	return install, entries
}

// Applied tells that the state machine includes everything up to an index that was handed out by Work. It never goes back.
func (m *Machine) Applied(upTo Index) {
	assert.That(upTo <= m.applying, "what is applied was handed out", upTo, m.applying)
	if upTo > m.applied {
		m.lag -= m.log.Size(m.applied, upTo)
		m.applied = upTo
	}
}
