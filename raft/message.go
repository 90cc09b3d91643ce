package raft

// Message is one of the types below, passed by value from one member to another. Term is the sender's term, unless a comment says
// otherwise.
type Message interface {
	term() Term
	// check refuses what no correct member sends in any state.
	check() error
}

// PreVote asks whether the sender would be voted for in Term, the one after its own (9.6).
type PreVote struct {
	Term      Term
	LastIndex Index
	LastTerm  Term
}

// PreVoteReply answers PreVote: with the term asked for if granted, else with the replier's own.
type PreVoteReply struct {
	Term    Term
	Granted bool
}

// Vote asks for a vote in Term (3.4). Transfer says that the leader wants the election, so that
// hearing from it is no reason to refuse (4.2.3).
type Vote struct {
	Term      Term
	LastIndex Index
	LastTerm  Term
	Transfer  bool
}

// VoteReply answers Vote.
type VoteReply struct {
	Term    Term
	Granted bool
}

// Append brings entries that follow the one at PrevIndex (3.5). Without entries it asks whether that one is there.
type Append struct {
	Term      Term
	PrevIndex Index
	PrevTerm  Term
	Entries   []Entry
	Commit    Index // may lie beyond the entries
}

// AppendReply says that the sender's log agrees with the leader's up to Match, and is durable up to there.
type AppendReply struct {
	Term  Term
	Match Index
}

// AppendReject says that the entry at PrevIndex of an Append is not there. The logs can agree at most up to HintIndex,
// where the sender has HintTerm.
type AppendReject struct {
	Term      Term
	PrevIndex Index
	HintIndex Index
	HintTerm  Term
}

// Heartbeat keeps followers from electing another leader. Commit is at most what the follower acknowledged.
type Heartbeat struct {
	Term   Term
	Commit Index
	Round  uint64 // the read round it serves; reads of this round and those before are confirmed by the reply
}

// HeartbeatReply answers Heartbeat. Match repeats the last AppendReply of this term, in case it was lost. Received is how
// far the sender's log agrees with the leader's, durable or not: entries beyond it that were sent long ago are lost.
type HeartbeatReply struct {
	Term     Term
	Round    uint64
	Match    Index
	Received Index
}

// Commit tells that entries up to Index, which the receiver has acknowledged, are committed. It is not answered.
type Commit struct {
	Term  Term
	Index Index
}

// Snapshot says that the receiver needs entries that the leader no longer has, and must take the state of this snapshot instead. The
// owner brings the state itself, and has it on disk before it steps the message.
type Snapshot struct {
	Term Term
	Meta SnapshotMeta
}

// ReadForward asks the leader for a read index on behalf of a follower's readers (6.4).
type ReadForward struct {
	Term  Term
	Batch uint64
}

// ReadReply answers ReadForward.
type ReadReply struct {
	Term  Term
	Batch uint64
	Index Index
}

// TimeoutNow asks the receiver, which has the whole log, to begin an election at once (3.10). A member that may not stand answers
// with a VoteReply.
type TimeoutNow struct{ Term Term }

// Stale answers a leader whose term is over with the sender's term.
type Stale struct{ Term Term }

func (m PreVote) term() Term        { return m.Term }
func (m PreVoteReply) term() Term   { return m.Term }
func (m Vote) term() Term           { return m.Term }
func (m VoteReply) term() Term      { return m.Term }
func (m Append) term() Term         { return m.Term }
func (m AppendReply) term() Term    { return m.Term }
func (m AppendReject) term() Term   { return m.Term }
func (m Heartbeat) term() Term      { return m.Term }
func (m HeartbeatReply) term() Term { return m.Term }
func (m Commit) term() Term         { return m.Term }
func (m Snapshot) term() Term       { return m.Term }
func (m ReadForward) term() Term    { return m.Term }
func (m ReadReply) term() Term      { return m.Term }
func (m TimeoutNow) term() Term     { return m.Term }
func (m Stale) term() Term          { return m.Term }

func (m PreVote) check() error        { return checkPosition(m.LastIndex, m.LastTerm, m.Term-1) }
func (m PreVoteReply) check() error   { return nil }
func (m Vote) check() error           { return checkPosition(m.LastIndex, m.LastTerm, m.Term-1) }
func (m VoteReply) check() error      { return nil }
func (m AppendReply) check() error    { return checkIndex(m.Match) }
func (m HeartbeatReply) check() error { return checkIndex(max(m.Match, m.Received)) }
func (m Heartbeat) check() error      { return checkIndex(m.Commit) }
func (m Commit) check() error         { return checkIndex(m.Index) }
func (m ReadForward) check() error    { return nil }
func (m ReadReply) check() error      { return checkIndex(m.Index) }
func (m TimeoutNow) check() error     { return nil }
func (m Stale) check() error          { return nil }

func (m Append) check() error {
	if err := checkPosition(m.PrevIndex, m.PrevTerm, m.Term); err != nil {
		return err
	}
	if err := checkIndex(m.Commit); err != nil {
		return err
	}
	return checkEntries(m.Entries, m.PrevIndex, m.PrevTerm, m.Term)
}

func (m AppendReject) check() error {
	if err := checkIndex(m.PrevIndex); err != nil {
		return err
	}
	if m.HintIndex >= m.PrevIndex {
		return ErrBadIndex
	}
	return checkPosition(m.HintIndex, m.HintTerm, m.Term)
}

func (m Snapshot) check() error {
	if m.Meta.Index == 0 {
		return ErrBadIndex
	}
	if err := checkPosition(m.Meta.Index, m.Meta.Term, m.Term); err != nil {
		return err
	}
	if !m.Meta.Configuration.IsValid() || len(m.Meta.Configuration.Voters) == 0 {
		return ErrBadConfiguration
	}
	return nil
}

func checkIndex(i Index) error {
	if i > indexMax {
		return ErrBadIndex
	}
	return nil
}

// checkPosition checks the index and term of an entry that may be the one before the first.
func checkPosition(i Index, t, upTo Term) error {
	switch {
	case i > indexMax:
		return ErrBadIndex
	case (i == 0) != (t == 0), t > upTo:
		return ErrBadTerm
	}
	return nil
}

// checkEntries checks that entries follow a position without gap, that terms never fall, and that none is later than upTo.
func checkEntries(entries []Entry, prev Index, prevTerm, upTo Term) error {
	if Index(len(entries)) > indexMax-prev {
		return ErrBadIndex
	}
	for i := range entries {
		e := &entries[i]
		if e.Index != prev+1 || e.Term < max(prevTerm, 1) || e.Term > upTo || e.Type > EntryConfChange {
			return ErrBadEntry
		}
		prev, prevTerm = e.Index, e.Term
	}
	return nil
}

// name gives a message's kind for errors; empty for what is not a message of the protocol, such as nil or a pointer.
func name(msg Message) string {
	switch msg.(type) {
	case PreVote:
		return "PreVote"
	case PreVoteReply:
		return "PreVoteReply"
	case Vote:
		return "Vote"
	case VoteReply:
		return "VoteReply"
	case Append:
		return "Append"
	case AppendReply:
		return "AppendReply"
	case AppendReject:
		return "AppendReject"
	case Heartbeat:
		return "Heartbeat"
	case HeartbeatReply:
		return "HeartbeatReply"
	case Commit:
		return "Commit"
	case Snapshot:
		return "Snapshot"
	case ReadForward:
		return "ReadForward"
	case ReadReply:
		return "ReadReply"
	case TimeoutNow:
		return "TimeoutNow"
	case Stale:
		return "Stale"
	}
	return ""
}
