package raft

import (
	"testing"
)

// The only voter: propose a batch, write, durable, apply.
func BenchmarkLoneVoter(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(map[int]string{1: "one", 64: "batch64"}[batch], func(b *testing.B) {
			m := leaderOf(b, 1)
			data := make([][]byte, batch)
			for i := range data {
				data[i] = make([]byte, 64)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				roundTrip(b, m, data)
				if i%10_000 == 0 {
					forget(b, m)
				}
			}
		})
	}
}

// roundTrip takes a batch through the machine.
func roundTrip(t testing.TB, m *Machine, data [][]byte) {
	if _, _, err := m.Propose(data...); err != nil {
		t.Fatal(err)
	}
	for w, ok := m.Work(); ok; w, ok = m.Work() {
		if w.Write != nil {
			m.Durable(w.Write.Seq)
		}
		if n := len(w.Apply); n > 0 {
			m.Applied(w.Apply[n-1].Index)
		}
	}
}

func forget(t testing.TB, m *Machine) {
	meta, err := m.SnapshotMeta(m.applied)
	if err == nil {
		err = m.Compact(meta, meta.Index+1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A leader of three: propose, send, both followers acknowledge, commit, apply.
func BenchmarkLeaderOfThree(b *testing.B) {
	m := leaderOf(b, 3)
	for _, id := range []MemberID{2, 3} {
		step(b, m, id, AppendReply{m.term, 11})
	}
	data := make([][]byte, 64)
	for i := range data {
		data[i] = make([]byte, 64)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := m.Propose(data...); err != nil {
			b.Fatal(err)
		}
		makeWritesDurable(m)
		reply := Message(AppendReply{m.term, m.log.Last()})
		step(b, m, 2, reply)
		step(b, m, 3, reply)
		makeWritesDurable(m)
		m.Applied(m.applying)
		if i%1000 == 0 {
			forget(b, m)
		}
	}
}

// A follower: append, write, durable, acknowledge.
func BenchmarkFollower(b *testing.B) {
	s, err := Bootstrap(ConfChange{Op: AddVoter, Member: 1}, ConfChange{Op: AddVoter, Member: 2})
	if err != nil {
		b.Fatal(err)
	}
	m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, s)
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]Entry, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		last := m.log.Last()
		for k := range entries {
			entries[k] = Entry{Index: last + 1 + Index(k), Term: 2, Data: make([]byte, 0)}
		}
		step(b, m, 2, Append{Term: 2, PrevIndex: last, PrevTerm: m.log.LastTerm(), Entries: entries, Commit: last})
		makeWritesDurable(m)
		m.Applied(m.applying)
		if i%1000 == 0 {
			forget(b, m)
		}
	}
}

// An entry of the only voter allocates the write, and sometimes memory for the log, and nothing else.
func TestLoneVoterAllocatesOneWriteABatch(t *testing.T) {
	m := leaderOf(t, 1)
	data := [][]byte{make([]byte, 64), make([]byte, 64)}
	roundTrip(t, m, data)
	for m.log.Len() < 1000 {
		roundTrip(t, m, data) // so that the log rarely grows
	}
	if n := testing.AllocsPerRun(100, func() { roundTrip(t, m, data) }); n > 1 {
		t.Errorf("%v allocations a batch, want at most 1", n)
	}
}

func TestIdleWorkDoesNotAllocate(t *testing.T) {
	m := leaderOf(t, 3)
	if n := testing.AllocsPerRun(100, func() { m.Work() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
