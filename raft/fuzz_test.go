package raft

import (
	"math"
	"reflect"
	"testing"
)

// FuzzStep sends messages of any content, well formed or not, while the owner behaves correctly. The machine must not panic, must
// keep its invariants, and must change nothing when it refuses a message.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	for kind := range byte(32) {
		f.Add([]byte{kind, 2, 5, 13, 5, 1, 2, 3, kind, 3, 6, 12, 4, 0, 16, 17, 18, 19, 20, 21})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &fuzzInput{b: b}
		m := followerOf(t)
		if in.next()%2 == 0 {
			m = leaderOf(t, 3, 1)
		}
		writes := uint64(0)
		for len(in.b) > 0 {
			op := in.next()
			if op < 16 {
				fuzzStep(t, m, in, op)
			} else {
				writes = fuzzOwner(m, in, op, writes)
			}
			fuzzCheck(t, m)
		}
	})
}

// fuzzInput turns bytes into choices; at the end all are 0.
type fuzzInput struct{ b []byte }

func (in *fuzzInput) next() byte {
	if len(in.b) == 0 {
		return 0
	}
	v := in.b[0]
	in.b = in.b[1:]
	return v
}

// number gives numbers near those that matter, and some far from them.
func (in *fuzzInput) number() uint64 {
	switch v := in.next(); {
	case v < 200:
		return uint64(v % 24)
	case v < 240:
		return uint64(v) << (in.next() % 60)
	default:
		return math.MaxUint64 - uint64(v-240)
	}
}

func (in *fuzzInput) index() Index { return Index(in.number()) }
func (in *fuzzInput) term() Term   { return Term(in.number()) }
func (in *fuzzInput) flag() bool   { return in.next()%2 == 0 }

func (in *fuzzInput) entries(prev Index, term Term) []Entry {
	var list []Entry
	for i := range Index(in.next() % 5) {
		e := Entry{Index: prev + 1 + i, Term: min(term, Term(in.next()%8)), Type: EntryType(in.next() % 3)}
		switch in.next() % 8 {
		case 0:
			e.Index = in.index()
		case 1:
			e.Term = in.term()
		case 2:
			e.Type = EntryConfChange
			e.Data, _ = ConfChange{Op: ConfChangeOp(in.next()%5 + 1), Member: MemberID(in.next()%6 + 1)}.Encode()
		}
		list = append(list, e)
	}
	return list
}

func (in *fuzzInput) ids() []MemberID {
	var list []MemberID
	for i := range MemberID(in.next() % 5) {
		list = append(list, 1+i+MemberID(in.next()%2))
	}
	return list
}

func (in *fuzzInput) message(kind byte) Message {
	switch kind {
	case 0:
		return PreVote{in.term(), in.index(), in.term()}
	case 1:
		return PreVoteReply{in.term(), in.flag()}
	case 2:
		return Vote{in.term(), in.index(), in.term(), in.flag()}
	case 3:
		return VoteReply{in.term(), in.flag()}
	case 4, 15:
		msg := Append{Term: in.term(), PrevIndex: in.index(), PrevTerm: in.term(), Commit: in.index()}
		msg.Entries = in.entries(msg.PrevIndex, msg.Term)
		return msg
	case 5:
		return AppendReply{in.term(), in.index()}
	case 6:
		return AppendReject{in.term(), in.index(), in.index(), in.term()}
	case 7:
		return Heartbeat{in.term(), in.index(), in.number()}
	case 8:
		return HeartbeatReply{in.term(), in.number(), in.index(), in.index()}
	case 9:
		return Commit{in.term(), in.index()}
	case 10:
		return Snapshot{in.term(), SnapshotMeta{in.index(), in.term(), Configuration{Voters: in.ids(), Learners: in.ids()}}}
	case 11:
		return ReadForward{in.term(), in.number()}
	case 12:
		return ReadReply{in.term(), in.number(), in.index()}
	case 13:
		return TimeoutNow{in.term()}
	}
	return Stale{in.term()}
}

func fuzzStep(t *testing.T, m *Machine, in *fuzzInput, kind byte) {
	from := MemberID(in.next() % 6)
	msg := in.message(kind)
	before := snapshotOf(m)
	err := m.Step(from, msg)
	if err != nil && !reflect.DeepEqual(before, snapshotOf(m)) {
		t.Errorf("refused %T%+v from %d (%v), but changed", msg, msg, from, err)
	}
}

// fuzzOwner does something that an owner does, and gives the last write that it was handed.
func fuzzOwner(m *Machine, in *fuzzInput, op byte, writes uint64) uint64 {
	switch op % 12 {
	case 0:
		m.Tick()
	case 1:
		m.Campaign()
	case 2:
		_, _, _ = m.Propose([]byte("x"), nil)
	case 3:
		_, _, _ = m.ProposeConfChange(ConfChange{Op: ConfChangeOp(in.next() % 7), Member: MemberID(in.next() % 6)})
	case 4:
		_ = m.ReadIndex(in.number())
	case 5:
		_ = m.TransferLeadership(MemberID(in.next() % 6))
	case 6:
		m.Durable(writes)
	case 7:
		m.Applied(m.applying)
	case 8:
		if meta, err := m.SnapshotMeta(in.index()); err == nil {
			_ = m.Compact(meta, in.index())
		}
	case 9:
		m.SnapshotSent(MemberID(in.next()%6), in.flag())
	default:
		if w, _ := m.Work(); w.Write != nil {
			writes = w.Write.Seq
		}
	}
	return writes
}

func fuzzCheck(t *testing.T, m *Machine) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	_ = m.Status()
}
