package raftloop

import (
	"errors"
	"fmt"
	"slices"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Membership changes go one at a time, and the leader decides, since it hears
// who is alive (M34). A change waits in the leader's queue until the one before is
// applied there, so that it is judged by the list that it will change. In the
// log it is a configuration change of raft, whose context is the Change.

// changesMax bounds the changes that wait in the leader's queue.
const changesMax = 256

// Policy is what an operator has set about changes.
type Policy struct {
	AutoPromote bool // learners that have caught up become voters
	Strict      bool // refuse changes that would leave no living quorum; else warn
	Election    time.Duration
}

// changeQueue has the changes that wait for the leader.
type changeQueue struct {
	waiting    []*waitingChange
	last       raft.Index // the last change; the next one waits until it is applied
	tenure     int        // ticks of this member's leadership
	yieldWait  int        // ticks with a full disk since leadership was last handed over for that
	yieldAfter int        // how many there have to be before it is handed over again
	answers    []answer   // to changes of this process, until it has applied as much as the leader had
}

type waitingChange struct {
	*pb.Change
	from   replica.ID // the member that forwarded it; 0: this one
	ticks  int
	before chan bool // gets whether it was applied before; nil: the apply loop is not asked yet
}

type answer struct {
	id      uint64
	applied raft.Index
	err     error
}

// takeChanges queues the changes of a batch, and returns the other requests.
func (l *Loop) takeChanges(batch []pending.Proposal) []pending.Proposal {
	if !slices.ContainsFunc(batch, func(p pending.Proposal) bool { return p.Change }) {
		return batch
	}
	var rest []pending.Proposal
	for _, p := range batch {
		if !p.Change {
			rest = append(rest, p)
			continue
		}
		c := &waitingChange{Change: &pb.Change{}, from: p.From}
		if err := c.UnmarshalVT(p.Data); err != nil {
			l.events.ChangeUnreadable(p.From, err)
			continue
		}
		l.queueChange(c)
	}
	return rest
}

// queueChange queues a change. If there is no room for it, its member tries again: a refusal would say that nothing was
// done, although an earlier leader may have done it.
func (l *Loop) queueChange(c *waitingChange) {
	q := &l.changes
	known := func(w *waitingChange) bool { return w.Session == c.Session && w.Id == c.Id }
	switch {
	case slices.ContainsFunc(q.waiting, known):
	case len(q.waiting) < changesMax:
		q.waiting = append(q.waiting, c)
	case c.from == 0:
		l.hold(l.pending.Requests(func(id uint64) bool { return id == c.Id }))
	default:
		l.front.Notify(c.from, &pb.Envelope{Returned: []uint64{c.Id}})
	}
}

// receiveChange queues a change that another member forwarded, if this one leads.
func (l *Loop) receiveChange(from replica.ID, c *pb.Change) {
	if !l.leading {
		l.front.Notify(from, &pb.Envelope{Returned: []uint64{c.Id}})
		return
	}
	l.queueChange(&waitingChange{Change: c, from: from})
}

// tryChanges proposes the changes that wait, in order, until one has to wait longer. It
// also gives their answers to the changes of this process.
func (l *Loop) tryChanges() {
	q := &l.changes
	applied := l.apply.Present()
	for len(q.waiting) > 0 && l.leading && l.tryChange(q.waiting[0], applied) {
		q.waiting = slices.Delete(q.waiting, 0, 1)
	}
	q.answers = slices.DeleteFunc(q.answers, func(a answer) bool {
		if a.applied > applied.Index {
			return false
		}
		l.pending.Finish(a.id, pending.Result{Err: a.err})
		return true
	})
}

// tryChange proposes one change; false means that it has to wait.
func (l *Loop) tryChange(c *waitingChange, state *replica.Head) bool {
	if state.Index < l.changes.last {
		return false
	}
	if known, applied := l.appliedBefore(c); !known || applied {
		return applied
	}
	err := l.judge(c, state)
	if errors.Is(err, errTooEarly) {
		return false
	}
	if err != nil {
		l.refuseChange(c, err)
		return true
	}
	id := replica.ID(c.Member.Id)
	if raft.ConfChangeOp(c.Op) == raft.Remove && id == l.self && len(state.Config.Voters) > 1 {
		l.handOver() // M46: the next leader removes it
		return false
	}
	return l.proposeChange(c)
}

// appliedBefore finds a change that comes again after it was applied: applied a second
// time, it could undo a later one. Its waiter gets its result when its member applies it.
// All changes in this leader's log are applied by now, so the answer is final. known is
// false until the apply loop, which owns the sessions, has answered.
func (l *Loop) appliedBefore(c *waitingChange) (known, applied bool) {
	if c.before == nil {
		before := make(chan bool, 1)
		asked := l.apply.AskApplied(c.Session, c.Id, func(applied bool) {
			before <- applied
			l.front.calls.Put(func(*Loop) {}) // wakes the loop; if it is full, the loop is awake
		})
		if asked {
			c.before = before
		}
		return false, false
	}
	select {
	case applied = <-c.before:
		c.before <- applied // for the next try
		return true, applied
	default:
		return false, false
	}
}

func (l *Loop) proposeChange(c *waitingChange) bool {
	entry := raft.ConfChange{Op: raft.ConfChangeOp(c.Op), Member: raft.MemberID(c.Member.Id)}
	context := &pb.Change{Member: c.Member, Session: c.Session, Id: c.Id, Finished: c.Finished}
	var err error
	if entry.Context, err = context.MarshalVT(); err != nil {
		l.refuseChange(c, &outcome.ReconfigurationError{Reason: err.Error()})
		return true
	}
	index, _, err := l.machine.ProposeConfChange(entry)
	switch {
	case err == nil:
		l.changes.last = index
		return true
	case errors.Is(err, raft.ErrNotCaughtUp) && c.ticks > int(l.policy.Election/l.interval):
		l.refuseChange(c, &outcome.ReconfigurationError{Reason: fmt.Sprintf("member %v has not caught up with the log yet", replica.ID(c.Member.Id))})
		return true
	case errors.Is(err, raft.ErrMemberExists), errors.Is(err, raft.ErrNoSuchMember), errors.Is(err, raft.ErrLastVoter),
		errors.Is(err, raft.ErrTooManyMembers), errors.Is(err, raft.ErrBadConfChange):
		l.refuseChange(c, &outcome.ReconfigurationError{Reason: err.Error()})
		return true
	}
	return false // not now: an election, a transfer, a change that is not committed
}

// reasons are the refusals that travel as numbers. The numbers are frozen.
var reasons = []struct {
	number uint32
	err    error
}{{1, outcome.ErrNoSuchMember}, {2, outcome.ErrMemberRemoved}, {3, outcome.ErrPeerURLExists}, {4, outcome.ErrLastMember}}

// reasonBusy comes from leaders of earlier versions that have no room for a change. An earlier leader may have done it.
const reasonBusy = 5

// refuseChange answers the member that asked.
func (l *Loop) refuseChange(c *waitingChange, err error) {
	applied := l.apply.Present().Index
	if c.from == 0 {
		l.changes.answers = append(l.changes.answers, answer{id: c.Id, applied: applied, err: err})
		return
	}
	a := &pb.Answer{Id: c.Id, Applied: uint64(applied), Text: err.Error()}
	if refusal := (*outcome.ReconfigurationError)(nil); errors.As(err, &refusal) {
		a.Text = refusal.Reason
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			a.Reason = r.number
		}
	}
	l.front.Notify(c.from, &pb.Envelope{Kind: &pb.Envelope_Answer{Answer: a}})
}

// answered takes the leader's refusal.
func (l *Loop) answered(by replica.ID, a *pb.Answer) {
	if a.Reason == reasonBusy {
		l.returned(by, []uint64{a.Id})
		return
	}
	var err error = &outcome.ReconfigurationError{Reason: a.Text}
	for _, r := range reasons {
		if a.Reason == r.number {
			err = r.err
		}
	}
	l.changes.answers = append(l.changes.answers, answer{id: a.Id, applied: raft.Index(a.Applied), err: err})
}

// giveBackChanges empties the queue of a member that leads no more. The changes of this
// process are still in the list of pending requests.
func (l *Loop) giveBackChanges() {
	for _, c := range l.changes.waiting {
		if c.from != 0 {
			l.front.Notify(c.from, &pb.Envelope{Returned: []uint64{c.Id}})
		}
	}
	l.changes.waiting = nil
}

// tickChanges forgets changes whose process has given up, and promotes.
func (l *Loop) tickChanges(status raft.Status) {
	q := &l.changes
	q.tenure++
	q.waiting = slices.DeleteFunc(q.waiting, func(c *waitingChange) bool {
		c.ticks++
		return time.Duration(c.ticks)*l.interval > requestTimeoutMax
	})
	if l.leading && l.policy.AutoPromote && len(q.waiting) == 0 && l.apply.Present().Index >= q.last {
		l.promote(status)
	}
}

// requestTimeoutMax is longer than any member waits for a change.
const requestTimeoutMax = time.Minute

// promote makes a learner that has caught up a voter, if the voters would then
// have a living quorum.
func (l *Loop) promote(status raft.Status) {
	state := l.apply.Present()
	for _, p := range status.Progress {
		info, known := state.Members.Members[replica.ID(p.ID)]
		if !known || !promotable(status, p) {
			continue
		}
		context, err := (&pb.Change{Member: info.Proto()}).MarshalVT()
		if err != nil {
			l.events.ChangeUnreadable(replica.ID(p.ID), err)
			continue
		}
		index, _, err := l.machine.ProposeConfChange(raft.ConfChange{Op: raft.Promote, Member: p.ID, Context: context})
		if err == nil {
			l.changes.last = index
			return
		}
	}
}

// yieldOnFullDisk hands leadership over when this member's disk is full: another's may
// have room (R8). If all disks are full, it does so ever more rarely.
func (l *Loop) yieldOnFullDisk() {
	if !l.writer.Space().Full() {
		l.changes.yieldWait, l.changes.yieldAfter = 0, 0
		return
	}
	if !l.leading {
		return
	}
	if l.changes.yieldWait++; l.changes.yieldWait > l.changes.yieldAfter && l.handOver() {
		l.changes.yieldAfter = min(2*l.changes.yieldAfter+int(l.policy.Election/l.interval), yieldTicksMax)
		l.changes.yieldWait = 0
		l.events.LeadershipYielded()
	}
}

// yieldTicksMax bounds the ticks between two attempts to hand leadership over.
const yieldTicksMax = 600
