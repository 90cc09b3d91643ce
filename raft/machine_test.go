package raft_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/raft"
)

// rng gives numbers from a seed.
func rng(seed uint64) func(int) int {
	return rand.New(rand.NewPCG(seed, 1)).IntN
}

// founded is the state of a new cluster of these voters.
func founded(t testing.TB, voters ...raft.MemberID) raft.State {
	t.Helper()
	var changes []raft.ConfChange
	for _, id := range voters {
		changes = append(changes, raft.ConfChange{Op: raft.AddVoter, Member: id})
	}
	s, err := raft.Bootstrap(changes...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newMachine(t testing.TB, s raft.State) *raft.Machine {
	t.Helper()
	m, err := raft.New(raft.Config{ID: 1, Random: rng(1)}, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// makeDurable makes all writes durable at once, and gives what is to be applied.
func makeDurable(m *raft.Machine) (applied []raft.Entry) {
	for {
		w, ok := m.Work()
		if !ok {
			return applied
		}
		applied = append(applied, w.Apply...)
		if w.Write != nil {
			m.Durable(w.Write.Seq)
		}
		if n := len(w.Apply); n > 0 {
			m.Applied(w.Apply[n-1].Index)
		}
	}
}

func TestLoneVoterLeadsAtOnceAndCommitsWhatIsDurable(t *testing.T) {
	m := newMachine(t, founded(t, 1))
	makeDurable(m)
	if s := m.Status(); s.Role != raft.Leader || s.Commit != 2 || s.Term != 2 {
		t.Fatalf("after New: %+v, want a leader of term 2 that committed 2 entries", s)
	}
	first, term, err := m.Propose([]byte("a"), []byte("b"))
	if first != 3 || term != 2 || err != nil {
		t.Fatalf("Propose = %d, %d, %v, want 3, 2, nil", first, term, err)
	}
	w, _ := m.Work()
	if len(w.Apply) > 0 || m.Status().Commit != 2 {
		t.Fatalf("commit %d, apply %v before the write is durable", m.Status().Commit, w.Apply)
	}
	m.Durable(w.Write.Seq)
	want := []raft.Entry{{Index: 3, Term: 2, Data: []byte("a")}, {Index: 4, Term: 2, Data: []byte("b")}}
	if diff := cmp.Diff(want, makeDurable(m)); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
}

func TestLoneVoterReadsWithoutAskingAnybody(t *testing.T) {
	m := newMachine(t, founded(t, 1))
	if err := m.ReadIndex(7); !errors.Is(err, raft.ErrNoLeader) {
		t.Fatalf("ReadIndex before the election = %v, want ErrNoLeader", err)
	}
	makeDurable(m)
	if err := m.ReadIndex(7); err != nil {
		t.Fatal(err)
	}
	w, _ := m.Work()
	if diff := cmp.Diff([]raft.Read{{Ctx: 7, Index: 2}}, w.Reads); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
}

func TestOwnVoteCountsOnlyOnceDurable(t *testing.T) {
	m := newMachine(t, founded(t, 1))
	w, _ := m.Work()
	for range 100 {
		m.Tick()
	}
	if s := m.Status(); s.Role != raft.Candidate || s.Term != 2 {
		t.Fatalf("%v of term %d while the vote is being written, want a candidate of term 2", s.Role, s.Term)
	}
	m.Durable(w.Write.Seq)
	if s := m.Status(); s.Role != raft.Leader {
		t.Fatalf("%v once the vote is durable, want leader", s.Role)
	}
}
