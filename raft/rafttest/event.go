package rafttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"canopy/raft"
)

// Op is what an event does. The text is that of scenario files.
type Op string

// The events, with their arguments. An event that is not possible, because an earlier one was left out, does nothing.
const (
	Begin    Op = "begin"    // MEMBER: with the others that begin, in the first configuration
	Start    Op = "start"    // MEMBER: on what its disk has
	Crash    Op = "crash"    // MEMBER WRITES RECORDS: so many unfinished writes are on disk, and so many records of the next
	Forget   Op = "forget"   // MEMBER, which is down: its disk is empty. Never drawn: no promise outlives it
	Tick     Op = "tick"     // MEMBER
	Work     Op = "work"     // MEMBER: its work is taken
	Deliver  Op = "deliver"  // FROM TO PLACE: of a message among those on their way on this link, 0 for the oldest
	Double   Op = "double"   // FROM TO PLACE: delivered, and still on its way
	Lose     Op = "lose"     // FROM TO PLACE
	Write    Op = "write"    // MEMBER WRITES: so many are finished
	Apply    Op = "apply"    // MEMBER: the next batch
	Propose  Op = "propose"  // MEMBER ENTRIES BYTES: each of so many
	Read     Op = "read"     // MEMBER
	Compact  Op = "compact"  // MEMBER ENTRIES: kept behind the snapshot of its state machine
	Change   Op = "change"   // MEMBER KIND OTHER: proposes a change of raft.ConfChangeOp
	Transfer Op = "transfer" // MEMBER OTHER
	Campaign Op = "campaign" // MEMBER
)

// arguments is how many each has.
var arguments = map[Op]int{
	Begin: 1, Start: 1, Crash: 3, Forget: 1, Tick: 1, Work: 1, Deliver: 3, Double: 3, Lose: 3, Write: 2, Apply: 1,
	Propose: 3, Read: 1, Compact: 2, Change: 3, Transfer: 2, Campaign: 1,
}

// Event is one step of a simulation.
type Event struct {
	Op   Op
	Args [3]uint64
}

func event(op Op, args ...uint64) Event {
	e := Event{Op: op}
	copy(e.Args[:], args)
	return e
}

func (e Event) member(n int) raft.MemberID { return raft.MemberID(e.Args[n]) }

// String is the line of a scenario.
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(string(e.Op))
	for _, a := range e.Args[:arguments[e.Op]] {
		fmt.Fprintf(&b, " %d", a)
	}
	return b.String()
}

// ParseEvent reads such a line.
func ParseEvent(line string) (Event, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return Event{}, fmt.Errorf("rafttest: an event is missing")
	}
	e := Event{Op: Op(words[0])}
	n, known := arguments[e.Op]
	if !known || len(words) != n+1 {
		return Event{}, fmt.Errorf("rafttest: %q is no event with its arguments", line)
	}
	for i, word := range words[1:] {
		var err error
		if e.Args[i], err = strconv.ParseUint(word, 10, 64); err != nil {
			return Event{}, fmt.Errorf("rafttest: %q: %w", line, err)
		}
	}
	return e, nil
}

// Options are the same for all members of a world.
type Options struct {
	Seed           uint64 // of the members' time-outs
	HeartbeatTicks uint64
	NoPreVote      bool
	NoCheckQuorum  bool

	InflightMessages, InflightBytes, MessageBytes, UncommittedBytes, UnappliedBytes, RetainedBytes, WriteBytes uint64
}

// field is one of the options, by its name in a scenario.
type field struct {
	name  string
	value any // *uint64 or *bool
}

func (o *Options) fields() []field {
	return []field{
		{"seed", &o.Seed}, {"heartbeat", &o.HeartbeatTicks}, {"no-pre-vote", &o.NoPreVote}, {"no-check-quorum", &o.NoCheckQuorum},
		{"inflight", &o.InflightMessages}, {"inflight-bytes", &o.InflightBytes}, {"message-bytes", &o.MessageBytes},
		{"uncommitted-bytes", &o.UncommittedBytes}, {"unapplied-bytes", &o.UnappliedBytes}, {"retained-bytes", &o.RetainedBytes},
		{"write-bytes", &o.WriteBytes},
	}
}

// String is the words of a scenario's head.
func (o Options) String() string {
	var words []string
	for _, f := range o.fields() {
		switch v := f.value.(type) {
		case *uint64:
			words = append(words, fmt.Sprintf("%s=%d", f.name, *v))
		case *bool:
			if *v {
				words = append(words, f.name)
			}
		}
	}
	return strings.Join(words, " ")
}

// set takes one of those words.
func (o *Options) set(name, value string) error {
	fields := o.fields()
	at := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if at < 0 {
		return fmt.Errorf("rafttest: no option %q", name)
	}
	switch v := fields[at].value.(type) {
	case *bool:
		*v = true
	case *uint64:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("rafttest: option %s: %w", name, err)
		}
		*v = n
	}
	return nil
}

func (o Options) config(id raft.MemberID, rng func(int) int) raft.Config {
	return raft.Config{
		ID: id, ElectionTicks: electionTicks, HeartbeatTicks: int(o.HeartbeatTicks),
		NoPreVote: o.NoPreVote, NoCheckQuorum: o.NoCheckQuorum,
		MaxInflightMessages: int(o.InflightMessages), MaxInflightBytes: int64(o.InflightBytes),
		MaxMessageBytes: int64(o.MessageBytes), MaxUncommittedBytes: int64(o.UncommittedBytes), MaxUnappliedBytes: int64(o.UnappliedBytes),
		MaxRetainedBytes: int64(o.RetainedBytes), MaxWriteBytes: int64(o.WriteBytes), Random: rng,
	}
}

const electionTicks = 10
