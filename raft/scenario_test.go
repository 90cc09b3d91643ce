package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Each file in testdata is a scenario: commands, and below the line their outcome. The methods of cluster are the commands. Run with
// -rewrite to write the outcomes again.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") {
			return
		}
		s := newStage()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			for _, line := range strings.Split(d.FullCmd()+"\n"+d.Input, "\n") {
				if words := strings.Fields(line); len(words) > 0 {
					s.play(t, words)
				}
			}
			return s.out.String()
		})
	})
}

// cluster is a cluster in which nothing happens by itself. Messages arrive in the order in which they were sent.
type cluster struct {
	out     strings.Builder
	options Config
	actors  map[MemberID]*node
	net     []sentMessage
	cut     map[[2]MemberID]bool
	trace   bool
}

// sentMessage is a message that was not delivered yet.
type sentMessage struct {
	from, to MemberID
	msg      Message
}

// node is a member: a machine, if it is up, and a disk.
type node struct {
	id     MemberID
	m      *Machine
	disk   stageDisk
	writes []*Write
	state  Index // of the state machine
	held   bool  // its disk finishes nothing
	role   SoftState
}

type stageDisk struct {
	hard    HardState
	snap    SnapshotMeta
	entries []Entry // behind snap
}

func (d *stageDisk) write(w *Write) {
	if w.Snapshot != nil {
		d.snap, d.entries = *w.Snapshot, nil
	}
	if len(w.Entries) > 0 {
		d.entries = append(slices.Clip(d.entries[:w.Entries[0].Index-d.snap.Index-1]), w.Entries...)
	}
	if w.HardState != nil {
		d.hard = *w.HardState
	}
}

func newStage() *cluster {
	return &cluster{actors: map[MemberID]*node{}, cut: map[[2]MemberID]bool{}}
}

// play runs one command.
func (s *cluster) play(t *testing.T, words []string) {
	t.Helper()
	name, args := words[0], words[1:]
	switch name {
	case "stage":
		*s = *newStage()
		s.setOptions(t, args)
	case "members":
		s.members(t, args)
	case "member":
		s.member(t, args)
	case "join":
		s.open(t, &node{id: s.id(t, args[0])})
	case "run":
		s.trace = slices.Contains(args, "trace")
		s.run()
		s.trace = false
		s.show()
	case "show":
		s.show()
	case "log":
		s.log(t, args)
	case "progress":
		s.progress(t, args)
	case "cut":
		s.cutLinks(t, args)
	case "heal":
		clear(s.cut)
	case "lose":
		s.net = nil
	case "messages":
		for _, p := range s.net {
			fmt.Fprintf(&s.out, "%d>%d %s\n", p.from, p.to, describe(p.msg))
		}
	default:
		s.playOn(t, name, s.actors[s.id(t, args[0])], args[1:])
	}
}

// playOn runs a command that is about one member.
func (s *cluster) playOn(t *testing.T, name string, a *node, args []string) {
	t.Helper()
	switch name {
	case "tick":
		for range s.number(t, args, 0, 1) {
			a.m.Tick()
		}
	case "campaign":
		a.m.Campaign()
	case "propose":
		s.propose(a, args)
	case "read":
		for i := range args {
			s.report(a, name, a.m.ReadIndex(uint64(s.number(t, args, i, 0))))
		}
	case "transfer":
		s.report(a, name, a.m.TransferLeadership(s.id(t, args[0])))
	case "retire":
		a.m.Retire()
	case "change":
		s.change(t, a, args)
	case "compact":
		s.compact(t, a, args)
	case "snapshot-failed":
		a.m.SnapshotSent(s.id(t, args[0]), false)
	case "deliver":
		s.deliverTo(a)
	case "hold-disk":
		a.held = true
	case "free-disk":
		a.held = false
	case "crash":
		a.m, a.writes = nil, nil
	case "restart":
		s.open(t, a)
	default:
		t.Fatalf("no command %q", name)
	}
	if a.m != nil && name != "deliver" {
		s.collect(a)
	}
}

func (s *cluster) id(t *testing.T, word string) MemberID {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return MemberID(n)
}

func (s *cluster) number(t *testing.T, args []string, at, otherwise int) int {
	t.Helper()
	if at >= len(args) {
		return otherwise
	}
	return int(s.id(t, args[at]))
}

func (s *cluster) report(a *node, name string, err error) {
	if err != nil {
		fmt.Fprintf(&s.out, "%s %d: %v\n", name, a.id, err)
	}
}

func (s *cluster) setOptions(t *testing.T, args []string) {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		n := s.number(t, []string{value}, 0, 0)
		switch key {
		case "prevote":
			s.options.NoPreVote = n == 0
		case "checkquorum":
			s.options.NoCheckQuorum = n == 0
		case "inflight":
			s.options.MaxInflightMessages = n
		case "message-bytes":
			s.options.MaxMessageBytes = int64(n)
		case "retained-bytes":
			s.options.MaxRetainedBytes = int64(n)
		case "uncommitted-bytes":
			s.options.MaxUncommittedBytes = int64(n)
		default:
			t.Fatalf("no option %q", key)
		}
	}
}

// members makes a cluster.
func (s *cluster) members(t *testing.T, args []string) {
	var elders []ConfChange
	for _, arg := range args {
		elders = append(elders, ConfChange{Op: AddVoter, Member: s.id(t, arg)})
	}
	first, err := Bootstrap(elders...)
	if err != nil {
		t.Fatal(err)
	}
	for _, elder := range elders {
		a := &node{id: elder.Member}
		a.disk.hard, a.disk.entries = first.HardState, first.Entries
		s.open(t, a)
	}
}

// member opens one on a disk with a snapshot at 10 of term 1, and entries of the terms given.
func (s *cluster) member(t *testing.T, args []string) {
	a := &node{id: s.id(t, args[0])}
	a.disk.snap = SnapshotMeta{Index: 10, Term: 1}
	a.disk.hard.Commit = 10
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		for i, word := range strings.Split(strings.Trim(value, "()"), ",") {
			n := s.number(t, []string{strings.TrimSpace(word)}, 0, 0)
			switch key {
			case "voters":
				a.disk.snap.Configuration.Voters = append(a.disk.snap.Configuration.Voters, MemberID(n))
			case "log":
				a.disk.entries = append(a.disk.entries, Entry{Index: 11 + Index(i), Term: Term(n)})
			case "term":
				a.disk.hard.Term = Term(n)
			}
		}
	}
	s.open(t, a)
}

// open runs a member on its disk. Its time-outs are fixed: ten ticks and its id.
func (s *cluster) open(t *testing.T, a *node) {
	c := s.options
	c.ID = a.id
	c.Random = func(n int) int { return int(a.id) % n }
	m, err := New(c, State{HardState: a.disk.hard, Snapshot: a.disk.snap, Entries: slices.Clone(a.disk.entries)})
	if err != nil {
		t.Fatal(err)
	}
	a.m, a.state = m, a.disk.snap.Index
	a.role = SoftState{}
	s.actors[a.id] = a
	s.collect(a)
}

func (s *cluster) propose(a *node, args []string) {
	var data [][]byte
	for _, arg := range args {
		data = append(data, []byte(arg))
	}
	_, _, err := a.m.Propose(data...)
	s.report(a, "propose", err)
}

func (s *cluster) change(t *testing.T, a *node, args []string) {
	ops := map[string]ConfChangeOp{
		"add-voter": AddVoter, "add-learner": AddLearner, "promote": Promote, "remove": Remove, "update": UpdateContext,
	}
	_, _, err := a.m.ProposeConfChange(ConfChange{Op: ops[args[0]], Member: s.id(t, args[1])})
	s.report(a, "change", err)
}

// compact takes a snapshot at an index and drops the log before the second index, or all up to the snapshot.
func (s *cluster) compact(t *testing.T, a *node, args []string) {
	at := Index(s.number(t, args, 0, 0))
	meta, err := a.m.SnapshotMeta(at)
	if err != nil {
		s.report(a, "compact", err)
		return
	}
	a.disk.entries = slices.Clone(a.disk.entries[at-a.disk.snap.Index:])
	a.disk.snap = meta
	s.report(a, "compact", a.m.Compact(meta, Index(s.number(t, args, 1, int(at)+1))))
}

// cutLinks loses messages: "1 from 2 3" both ways, "1 to 2 3" in this direction only.
func (s *cluster) cutLinks(t *testing.T, args []string) {
	a := s.id(t, args[0])
	for _, arg := range args[2:] {
		b := s.id(t, arg)
		s.cut[[2]MemberID{a, b}] = true
		if args[1] == "from" {
			s.cut[[2]MemberID{b, a}] = true
		}
	}
}
