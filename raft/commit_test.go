package raft

import (
	"testing"
)

// leaderOf gives a leader of voters 1 to n on a log that ends with entries of terms before its own.
func leaderOf(t testing.TB, voters int, terms ...Term) *Machine {
	t.Helper()
	s := State{Snapshot: SnapshotMeta{Index: 10, Term: 1}}
	for id := range voters {
		s.Snapshot.Configuration.Voters = append(s.Snapshot.Configuration.Voters, MemberID(id+1))
	}
	for i, term := range terms {
		s.Entries = append(s.Entries, Entry{Index: 11 + Index(i), Term: term})
		s.HardState.Term = term
	}
	m, err := New(Config{ID: 1, NoPreVote: true, Random: func(int) int { return 0 }}, s)
	if err != nil {
		t.Fatal(err)
	}
	m.Campaign()
	makeWritesDurable(m)
	for id := range voters / 2 {
		step(t, m, MemberID(id+2), VoteReply{m.term, true})
	}
	makeWritesDurable(m)
	if m.leading == nil {
		t.Fatal("not elected")
	}
	return m
}

func makeWritesDurable(m *Machine) {
	for w, ok := m.Work(); ok; w, ok = m.Work() {
		if w.Write != nil {
			m.Durable(w.Write.Seq)
		}
	}
}

func step(t testing.TB, m *Machine, from MemberID, msg Message) {
	t.Helper()
	if err := m.Step(from, msg); err != nil {
		t.Fatal(err)
	}
}

// Figure 8 of the Raft paper, as its leader sees it: the old entry is on a majority first.
func TestLeaderCountsOnlyEntriesOfItsOwnTerm(t *testing.T) {
	m := leaderOf(t, 5, 1, 2)
	for _, id := range []MemberID{2, 3, 4, 5} {
		step(t, m, id, AppendReply{m.term, 12})
	}
	if m.commit != 10 {
		t.Fatalf("commit = %d with all members at an old term's entry 12, want 10", m.commit)
	}
	step(t, m, 2, AppendReply{m.term, 13})
	if m.commit != 10 {
		t.Fatalf("commit = %d with 2 of 5 at entry 13, want 10", m.commit)
	}
	step(t, m, 3, AppendReply{m.term, 13})
	if m.commit != 13 {
		t.Fatalf("commit = %d with 3 of 5 at entry 13 of the own term, want 13", m.commit)
	}
}

func TestLearnersDoNotCount(t *testing.T) {
	m := leaderOf(t, 3, 1)
	step(t, m, 2, AppendReply{m.term, 12})
	if _, _, err := m.ProposeConfChange(ConfChange{Op: AddLearner, Member: 4}); err != nil {
		t.Fatal(err)
	}
	makeWritesDurable(m)
	step(t, m, 4, AppendReply{m.term, 13})
	if m.commit != 12 {
		t.Fatalf("commit = %d by leader and learner, want 12", m.commit)
	}
	step(t, m, 3, AppendReply{m.term, 13})
	if m.commit != 13 {
		t.Fatalf("commit = %d by leader and voter, want 13", m.commit)
	}
}

func TestUncommittedBytesAreFreedByCommit(t *testing.T) {
	m := leaderOf(t, 3, 1)
	m.config.MaxUncommittedBytes = 300
	step(t, m, 2, AppendReply{m.term, 12})
	if _, _, err := m.Propose(make([]byte, 500)); err != nil {
		t.Fatalf("first proposal refused, however large: %v", err)
	}
	if _, _, err := m.Propose(nil); err != ErrTooMuchUncommitted {
		t.Fatalf("second proposal = %v, want ErrTooMuchUncommitted", err)
	}
	makeWritesDurable(m)
	step(t, m, 3, AppendReply{m.term, 13})
	if _, _, err := m.Propose(nil); err != nil {
		t.Fatalf("proposal after commit = %v", err)
	}
}

// A follower has entries of its own behind those that the leader has compared. The leader's commit index does not mean them.
func TestFollowerCommitsOnlyWhatWasCompared(t *testing.T) {
	m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, State{
		HardState: HardState{Term: 2},
		Snapshot:  SnapshotMeta{Index: 10, Term: 1, Configuration: Configuration{Voters: []MemberID{1, 2, 3}}},
		Entries:   []Entry{{Index: 11, Term: 1}, {Index: 12, Term: 2}, {Index: 13, Term: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	step(t, m, 2, Append{Term: 3, PrevIndex: 11, PrevTerm: 1, Commit: 14})
	if m.commit != 11 {
		t.Errorf("commit = %d after a comparison up to entry 11, want 11", m.commit)
	}
}

// What is committed and not applied is bounded: a member whose state machine is slow takes no more entries, from a leader or
// from its owner, until that has caught up.
func TestUnappliedBytesAreBounded(t *testing.T) {
	m := leaderOf(t, 3, 1)
	m.config.MaxUnappliedBytes = 300
	step(t, m, 2, AppendReply{m.term, 12})
	makeWritesDurable(m)
	m.Applied(12)
	if _, _, err := m.Propose(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	makeWritesDurable(m)
	step(t, m, 2, AppendReply{m.term, 13})
	makeWritesDurable(m)
	if _, _, err := m.Propose(nil); err != ErrTooMuchUnapplied {
		t.Fatalf("a proposal before entry 13 is applied = %v, want ErrTooMuchUnapplied", err)
	}
	step(t, m, 2, Append{Term: m.term + 1, PrevIndex: 13, PrevTerm: m.term, Entries: []Entry{{Index: 14, Term: m.term + 1}}, Commit: 13})
	if m.log.Last() != 13 {
		t.Fatalf("the log goes up to %d, want 13: entry 14 comes before 13 is applied", m.log.Last())
	}
	m.Applied(13)
	step(t, m, 2, Append{Term: m.term, PrevIndex: 13, PrevTerm: m.term - 1, Entries: []Entry{{Index: 14, Term: m.term}}, Commit: 13})
	if m.log.Last() != 14 {
		t.Fatalf("the log goes up to %d, want 14: all before is applied", m.log.Last())
	}
}

// A state that includes a part of the log is not given that part again.
func TestWhatRecoveryAppliedIsNotAppliedAgain(t *testing.T) {
	s := State{
		HardState: HardState{Term: 1, Commit: 14}, Applied: 13,
		Snapshot: SnapshotMeta{Index: 10, Term: 1, Configuration: Configuration{Voters: []MemberID{1, 2, 3}}},
		Entries:  []Entry{{Index: 11, Term: 1}, {Index: 12, Term: 1}, {Index: 13, Term: 1}, {Index: 14, Term: 1}, {Index: 15, Term: 1}},
	}
	m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, s)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := m.Work()
	if len(w.Apply) != 1 || w.Apply[0].Index != 14 {
		t.Errorf("entries %v are to be applied, want 14 alone", w.Apply)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	s.Applied = 15
	if _, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, s); err == nil {
		t.Error("a state that includes entry 15, which is not committed, is accepted")
	}
}
