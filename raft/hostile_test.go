package raft

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

// alien is a message that the machine does not know.
type alien struct{ Append }

// followerOf gives one of three voters, in term 5 under leader 2, with snapshot 10 and entries 11 (term 1), 12 (4) and 13 (5), of
// which 12 is committed.
func followerOf(t testing.TB) *Machine {
	t.Helper()
	s := State{
		HardState: HardState{Term: 4, Commit: 11},
		Snapshot:  SnapshotMeta{10, 1, Configuration{Voters: []MemberID{1, 2, 3}}},
		Entries:   []Entry{{Index: 11, Term: 1}, {Index: 12, Term: 4}},
	}
	m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, s)
	if err != nil {
		t.Fatal(err)
	}
	step(t, m, 2, Append{Term: 5, PrevIndex: 12, PrevTerm: 4, Entries: []Entry{{Index: 13, Term: 5}}, Commit: 12})
	makeWritesDurable(m)
	return m
}

func entries(first Index, terms ...Term) []Entry {
	var list []Entry
	for i, t := range terms {
		list = append(list, Entry{Index: first + Index(i), Term: t})
	}
	return list
}

func change(at Index, term Term, data []byte) []Entry {
	return []Entry{{Index: at, Term: term, Type: EntryConfChange, Data: data}}
}

func TestFollowerRefusesWhatNoLeaderCouldSay(t *testing.T) {
	const most = math.MaxUint64
	removeStranger, err := ConfChange{Op: Remove, Member: 9}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	voters := Configuration{Voters: []MemberID{1, 2}}
	for _, c := range []struct {
		name   string
		from   MemberID
		msg    Message
		reason error
	}{
		{"nothing", 2, nil, ErrUnknownKind},
		{"a pointer", 2, &Append{Term: 5}, ErrUnknownKind},
		{"a nil pointer", 2, (*Append)(nil), ErrUnknownKind},
		{"another type", 2, alien{Append{Term: 5}}, ErrUnknownKind},
		{"from nobody", None, Heartbeat{Term: 5}, ErrBadSender},
		{"from itself", 1, Heartbeat{Term: 5}, ErrBadSender},
		{"term 0", 2, Append{}, ErrBadTerm},
		{"vote in term 0", 2, Vote{}, ErrBadTerm},
		{"highest term", 2, Vote{Term: most}, ErrBadTerm},
		{"term too far ahead", 3, Vote{Term: 6 + termLeapMax}, ErrBadTerm},
		{"log later than the vote's term", 3, Vote{Term: 6, LastIndex: 9, LastTerm: 6}, ErrBadTerm},
		{"last term without last index", 3, PreVote{Term: 6, LastTerm: 4}, ErrBadTerm},
		{"last index without last term", 3, PreVote{Term: 6, LastIndex: 4}, ErrBadTerm},
		{"last index out of range", 3, Vote{Term: 6, LastIndex: most, LastTerm: 4}, ErrBadIndex},
		{"another leader", 3, Heartbeat{Term: 5}, ErrTwoLeaders},
		{"entries of another leader", 3, Append{Term: 5, PrevIndex: 13, PrevTerm: 5}, ErrTwoLeaders},
		{"snapshot of another leader", 3, Snapshot{5, SnapshotMeta{20, 5, voters}}, ErrTwoLeaders},
		{"another leader is told to stand", 3, TimeoutNow{5}, ErrTwoLeaders},
		{"previous index out of range", 2, Append{Term: 5, PrevIndex: most, PrevTerm: 5}, ErrBadIndex},
		{"previous index 0 of a term", 2, Append{Term: 5, PrevTerm: 5}, ErrBadTerm},
		{"previous term later than the term", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 6}, ErrBadTerm},
		{"commit out of range", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Commit: most}, ErrBadIndex},
		{"gap before", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: entries(15, 5)}, ErrBadEntry},
		{"gap between", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: append(entries(14, 5), entries(16, 5)...)}, ErrBadEntry},
		{"entry of term 0", 2, Append{Term: 5, Entries: entries(1, 0)}, ErrBadEntry},
		{"falling terms", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: entries(14, 5, 4)}, ErrBadEntry},
		{"entry from the future", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: entries(14, 6)}, ErrBadEntry},
		{"unknown type", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: []Entry{{Index: 14, Term: 5, Type: 9}}}, ErrBadEntry},
		{"change that is none", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: change(14, 5, []byte("x"))}, ErrBadConfChange},
		{"impossible change", 2, Append{Term: 5, PrevIndex: 13, PrevTerm: 5, Entries: change(14, 5, removeStranger)}, ErrBadConfChange},
		{"conflict with committed entries", 2, Append{Term: 5, PrevIndex: 11, PrevTerm: 1, Entries: entries(12, 5)}, ErrConflict},
		{"the same, of a later term", 3, Append{Term: 6, PrevIndex: 11, PrevTerm: 1, Entries: entries(12, 6)}, ErrConflict},
		{"previous entry differs where committed", 2, Append{Term: 5, PrevIndex: 12, PrevTerm: 3}, ErrConflict},
		{"conflict with the leader's own entries", 2, Append{Term: 5, PrevIndex: 12, PrevTerm: 4, Entries: entries(13, 4)}, ErrConflict},
		{"commit beyond the log", 2, Heartbeat{Term: 5, Commit: 14}, ErrBeyondLog},
		{"the same without answer", 2, Commit{Term: 5, Index: 14}, ErrBeyondLog},
		{"heartbeat out of range", 2, Heartbeat{Term: 5, Commit: most}, ErrBadIndex},
		{"snapshot of nothing", 2, Snapshot{5, SnapshotMeta{0, 0, voters}}, ErrBadIndex},
		{"snapshot without term", 2, Snapshot{5, SnapshotMeta{20, 0, voters}}, ErrBadTerm},
		{"snapshot from the future", 2, Snapshot{5, SnapshotMeta{20, 6, voters}}, ErrBadTerm},
		{"snapshot without voters", 2, Snapshot{5, SnapshotMeta{20, 5, Configuration{}}}, ErrBadConfiguration},
		{"snapshot with unsorted voters", 2, Snapshot{5, SnapshotMeta{20, 5, Configuration{Voters: []MemberID{2, 1}}}}, ErrBadConfiguration},
		{"snapshot with a voter that learns", 2, Snapshot{5, SnapshotMeta{20, 5, Configuration{Voters: []MemberID{2}, Learners: []MemberID{2}}}}, ErrBadConfiguration},
		{"snapshot of too many", 2, Snapshot{5, SnapshotMeta{20, 5, Configuration{Voters: make([]MemberID, 1000)}}}, ErrBadConfiguration},
		{"snapshot older than it can be", 2, Snapshot{5, SnapshotMeta{20, 3, voters}}, ErrConflict},
		{"snapshot against the leader's own entries", 2, Snapshot{5, SnapshotMeta{13, 4, voters}}, ErrConflict},
		{"vote of a stranger", 9, VoteReply{5, true}, ErrUnknownMember},
		{"stranger that is ahead", 9, Stale{6}, ErrUnknownMember},
		{"read of a stranger", 9, ReadForward{5, 1}, ErrUnknownMember},
		{"read index out of range", 2, ReadReply{5, 1, most}, ErrBadIndex},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, followerOf(t), c.from, c.msg, c.reason) })
	}
}

func TestLeaderRefusesWhatNoFollowerCouldSay(t *testing.T) {
	for _, c := range []struct {
		name   string
		from   MemberID
		msg    Message
		reason error
	}{
		{"match beyond the log", 2, AppendReply{2, 99}, ErrBeyondLog},
		{"match of a stranger", 9, AppendReply{2, 11}, ErrUnknownMember},
		{"received beyond the log", 2, HeartbeatReply{2, 0, 0, 99}, ErrBeyondLog},
		{"confirms what was not asked", 2, HeartbeatReply{2, 7, 0, 0}, ErrBadIndex},
		{"heartbeat of a stranger", 9, HeartbeatReply{2, 0, 0, 0}, ErrUnknownMember},
		{"hint not before the probe", 2, AppendReject{2, 11, 11, 1}, ErrBadIndex},
		{"hint from the future", 2, AppendReject{2, 11, 10, 3}, ErrBadTerm},
		{"rejects out of range", 2, AppendReject{2, math.MaxUint64, 10, 1}, ErrBadIndex},
		{"second leader", 2, Append{Term: 2, PrevIndex: 11, PrevTerm: 1}, ErrTwoLeaders},
		{"second leader beats", 2, Heartbeat{Term: 2}, ErrTwoLeaders},
	} {
		t.Run(c.name, func(t *testing.T) { mustRefuse(t, leaderOf(t, 3, 1), c.from, c.msg, c.reason) })
	}
}

// mustRefuse checks that a message is refused, and leaves no trace.
func mustRefuse(t *testing.T, m *Machine, from MemberID, msg Message, reason error) {
	t.Helper()
	before := snapshotOf(m)
	err := m.Step(from, msg)
	if refused := (ErrRefused{}); !errors.Is(err, reason) || !errors.As(err, &refused) || refused.From != from {
		t.Errorf("Step(%d, %+v) = %v, want %v", from, msg, err, reason)
	}
	if after := snapshotOf(m); !reflect.DeepEqual(before, after) {
		t.Errorf("Step(%d, %+v) was refused, but changed\n%+v to\n%+v", from, msg, before, after)
	}
}

// snapshotOf gives a copy of all that a message could change.
func snapshotOf(m *Machine) any {
	type copied struct {
		Status    Status
		Entries   []Entry
		Following following
		Elapsed   int
		Outbox    []Outbound
		Dirty     bool
	}
	log := append([]Entry(nil), m.log.Slice(m.log.Base(), m.log.Last())...)
	return copied{m.Status(), log, m.following, m.elapsed, append([]Outbound(nil), m.outbox...), m.dirty()}
}

func TestLeaderBoundsTheReadsOfFollowers(t *testing.T) {
	m := leaderOf(t, 3, 1)
	for i := range readsMax {
		step(t, m, 2, ReadForward{m.term, uint64(i)})
	}
	if err := m.Step(2, ReadForward{m.term, 0}); !errors.Is(err, ErrTooManyReads) {
		t.Errorf("one read too many = %v, want ErrTooManyReads", err)
	}
	if err := m.ReadIndex(1); !errors.Is(err, ErrTooManyReads) {
		t.Errorf("one read of its own too many = %v, want ErrTooManyReads", err)
	}
}

func TestNewRefusesStatesThatNoDiskShouldHold(t *testing.T) {
	three := Configuration{Voters: []MemberID{1, 2, 3}}
	for _, c := range []struct {
		name  string
		state State
	}{
		{"vote without term", State{HardState: HardState{Vote: 1}}},
		{"commit beyond the log", State{HardState: HardState{Term: 1, Commit: 1}}},
		{"configuration beside the log", State{Snapshot: SnapshotMeta{Configuration: three}}},
		{"snapshot without configuration", State{Snapshot: SnapshotMeta{Index: 5, Term: 1}}},
		{"snapshot without term", State{Snapshot: SnapshotMeta{Index: 5, Configuration: three}}},
		{"gap behind the snapshot", State{Snapshot: SnapshotMeta{5, 1, three}, Entries: entries(7, 1)}},
		{"entry older than the snapshot", State{Snapshot: SnapshotMeta{5, 2, three}, Entries: entries(6, 1)}},
		{"impossible change", State{Snapshot: SnapshotMeta{5, 1, three}, Entries: change(6, 1, []byte{1})}},
		{"index out of range", State{Snapshot: SnapshotMeta{math.MaxUint64, 1, three}, Entries: entries(0, 1)}},
		{"term out of range", State{HardState: HardState{Term: math.MaxUint64}}},
	} {
		m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, c.state)
		if wrong := (ErrState{}); !errors.As(err, &wrong) {
			t.Errorf("%s: New = %v, %v, want ErrState", c.name, m, err)
		}
	}
}

func TestNewTakesATornWrite(t *testing.T) {
	s := State{HardState: HardState{Term: 3, Vote: 2}, Snapshot: SnapshotMeta{5, 1, Configuration{Voters: []MemberID{1, 2, 3}}}, Entries: entries(6, 4)}
	m, err := New(Config{ID: 1, Random: func(int) int { return 0 }}, s)
	if err != nil || m.term != 4 || m.vote != None {
		t.Errorf("New = %v, term %d, vote %d, want term 4 without vote", err, m.term, m.vote)
	}
}

func TestNewRefusesConfigs(t *testing.T) {
	die := func(int) int { return 0 }
	for _, c := range []struct {
		name   string
		config Config
		field  string
	}{
		{"no id", Config{Random: die}, "ID"},
		{"no rng", Config{ID: 1}, "Random"},
		{"heartbeats too rare", Config{ID: 1, Random: die, ElectionTicks: 3, HeartbeatTicks: 3}, "ElectionTicks"},
		{"negative bound", Config{ID: 1, Random: die, MaxMessageBytes: -1}, "Max…"},
	} {
		_, err := New(c.config, State{})
		if wrong := (ErrConfig{}); !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%s: New = %v, want ErrConfig of %s", c.name, err, c.field)
		}
	}
}
