package etcdserver

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Membership changes go one at a time, and the leader decides, since it hears
// who is alive (M34). A change waits at its door until the one before is
// applied there, so that it is judged by the list that it will change. In the
// log it is a configuration change of raft, whose context is the Change.

// changesMax bounds the changes that wait at the leader's door.
const changesMax = 256

// peerURLsMax bounds the peer URLs of one member, in bytes: a Change has to fit
// the context of a configuration change.
const peerURLsMax = 32 << 10

// changePolicy is what an operator has set about changes.
type changePolicy struct {
	autoPromote bool // learners that have caught up become voters
	strict      bool // refuse what would leave no living quorum; else warn
	election    time.Duration
}

// AddMember adds a member, as a learner, and returns it once that is applied
// here (M15). Errors: ErrPeerURLExists, *ReconfigurationError, and those of a
// request.
func (m *Member) AddMember(ctx context.Context, peerURLs []string) (MemberInfo, error) {
	info := MemberInfo{ID: m.newMemberID(peerURLs), PeerURLs: slices.Sorted(slices.Values(peerURLs))}
	return info, m.change(ctx, raft.AddLearner, info)
}

// newMemberID makes an id that was never used (M17).
func (m *Member) newMemberID(peerURLs []string) ID {
	members := m.apply.present.Load().Members
	text := strings.Join(slices.Sorted(slices.Values(peerURLs)), "") + strconv.FormatInt(time.Now().UnixNano(), 10)
	rng := m.options.rng(memberRNG)
	for {
		sum := sha1.Sum(binary.BigEndian.AppendUint64([]byte(text), rng.Uint64()))
		id := ID(binary.BigEndian.Uint64(sum[:8]))
		_, known := members.Members[id]
		_, removed := members.Removed[id]
		if id != 0 && !known && !removed {
			return id
		}
	}
}

// RemoveMember removes a member for ever (M25). Errors: ErrNoSuchMember,
// ErrMemberRemoved, ErrLastMember, *ReconfigurationError, and those of a request.
func (m *Member) RemoveMember(ctx context.Context, id ID) error {
	return m.change(ctx, raft.Remove, MemberInfo{ID: id})
}

// UpdateMember replaces a member's peer URLs (M22). Errors: ErrNoSuchMember,
// ErrMemberRemoved, ErrPeerURLExists, and those of a request.
func (m *Member) UpdateMember(ctx context.Context, id ID, peerURLs []string) error {
	return m.change(ctx, raft.UpdateContext, MemberInfo{ID: id, PeerURLs: slices.Sorted(slices.Values(peerURLs))})
}

// PromoteMember makes a learner that has caught up a voter. Errors: ErrNoSuchMember,
// ErrMemberRemoved, *ReconfigurationError, and those of a request.
func (m *Member) PromoteMember(ctx context.Context, id ID) error {
	return m.change(ctx, raft.Promote, MemberInfo{ID: id})
}

func (m *Member) change(ctx context.Context, op raft.ConfChangeOp, info MemberInfo) error {
	if len(strings.Join(info.PeerURLs, "")) > peerURLsMax {
		return &ReconfigurationError{Reason: fmt.Sprintf("the peer URLs of a member may have %d bytes", peerURLsMax)}
	}
	if _, gone := m.apply.present.Load().Members.Removed[info.ID]; gone {
		return ErrMemberRemoved
	}
	c := &pb.Change{Op: uint32(op), Member: info.Proto(), Session: m.waiters.session, Finished: m.waiters.finished.Load()}
	data, err := c.MarshalVT()
	if err != nil {
		return fmt.Errorf("etcdserver: encode a membership change: %w", err)
	}
	_, err = m.await(ctx, proposal{data: reserveID(data, changeTag), change: true})
	return err
}

// changeQueue is the leader's door for changes.
type changeQueue struct {
	waiting  []*waitingChange
	settled  raft.Index // the last change; what comes waits until it is applied
	tenure   int        // ticks of this member's leadership
	wayWait  int        // ticks with a full disk since leadership was last handed over for that
	wayAfter int        // how many there have to be before it is again
	answers  []answer   // to changes of this process, until it has applied as much as the leader had
}

type waitingChange struct {
	*pb.Change
	from   ID // the member that forwarded it; 0: this one
	ticks  int
	before chan bool // gets whether it was applied before; nil: the apply loop is not asked yet
}

type answer struct {
	id      uint64
	applied raft.Index
	err     error
}

// takeChanges leaves the requests of a batch, and queues the changes.
func (l *raftLoop) takeChanges(batch []proposal) []proposal {
	if !slices.ContainsFunc(batch, func(p proposal) bool { return p.change }) {
		return batch
	}
	var rest []proposal
	for _, p := range batch {
		if !p.change {
			rest = append(rest, p)
			continue
		}
		c := &waitingChange{Change: &pb.Change{}, from: p.from}
		if err := c.UnmarshalVT(p.data); err != nil {
			l.log.badChange(p.from, err)
			continue
		}
		l.queueChange(c)
	}
	return rest
}

// queueChange has a change wait at the door. One for which there is no room is tried again by its member: to refuse it
// would be to say that nothing is done, though a leader before this one may have done it.
func (l *raftLoop) queueChange(c *waitingChange) {
	q := &l.changes
	known := func(w *waitingChange) bool { return w.Session == c.Session && w.Id == c.Id }
	switch {
	case slices.ContainsFunc(q.waiting, known):
	case len(q.waiting) < changesMax:
		q.waiting = append(q.waiting, c)
	case c.from == 0:
		l.hold(l.waiters.pending(func(id uint64) bool { return id == c.Id }))
	default:
		l.notify(c.from, &pb.Envelope{Returned: []uint64{c.Id}})
	}
}

// tryChanges proposes what waits at the door, in order, as far as it goes; and
// tells this process's own what became of them.
func (l *raftLoop) tryChanges() {
	q := &l.changes
	applied := l.apply.present.Load()
	for len(q.waiting) > 0 && l.leading && l.tryChange(q.waiting[0], applied) {
		q.waiting = slices.Delete(q.waiting, 0, 1)
	}
	q.answers = slices.DeleteFunc(q.answers, func(a answer) bool {
		if a.applied > applied.Index {
			return false
		}
		l.waiters.finish(a.id, outcome{err: a.err})
		return true
	})
}

// tryChange proposes one change; false means that it has to wait.
func (l *raftLoop) tryChange(c *waitingChange, state *replica.Head) bool {
	if state.Index < l.changes.settled {
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
	id := ID(c.Member.Id)
	if raft.ConfChangeOp(c.Op) == raft.Remove && id == l.self && len(state.Config.Voters) > 1 {
		l.handOver() // M46: the next leader removes it
		return false
	}
	return l.proposeChange(c)
}

// appliedBefore recognises a change that comes again after it was applied: a second
// time it could undo a later one. Its waiter is told when its member applies it. All
// changes in this leader's log are applied by now, so that the answer is final; known
// is false until the apply loop, which owns the sessions, has given it.
func (l *raftLoop) appliedBefore(c *waitingChange) (known, applied bool) {
	if c.before == nil {
		before := make(chan bool, 1)
		asked := l.apply.calls.put(func() {
			before <- l.apply.state.WasApplied(c.Session, c.Id)
			l.calls.put(func() {}) // wakes the loop; if it is full, the loop is awake
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

func (l *raftLoop) proposeChange(c *waitingChange) bool {
	entry := raft.ConfChange{Op: raft.ConfChangeOp(c.Op), Member: raft.MemberID(c.Member.Id)}
	context := &pb.Change{Member: c.Member, Session: c.Session, Id: c.Id, Finished: c.Finished}
	var err error
	if entry.Context, err = context.MarshalVT(); err != nil {
		l.refuseChange(c, &ReconfigurationError{Reason: err.Error()})
		return true
	}
	index, _, err := l.machine.ProposeConfChange(entry)
	switch {
	case err == nil:
		l.changes.settled = index
		return true
	case errors.Is(err, raft.ErrNotCaughtUp) && c.ticks > int(l.policy.election/l.interval):
		l.refuseChange(c, &ReconfigurationError{Reason: fmt.Sprintf("member %v has not caught up with the log yet", ID(c.Member.Id))})
		return true
	case errors.Is(err, raft.ErrMemberExists), errors.Is(err, raft.ErrNoSuchMember), errors.Is(err, raft.ErrLastVoter),
		errors.Is(err, raft.ErrTooManyMembers), errors.Is(err, raft.ErrBadConfChange):
		l.refuseChange(c, &ReconfigurationError{Reason: err.Error()})
		return true
	}
	return false // not now: an election, a transfer, a change that is not committed
}

// judge says why a change is refused, by the list that it would change.
func (l *raftLoop) judge(c *waitingChange, state *replica.Head) error {
	id, op := ID(c.Member.Id), raft.ConfChangeOp(c.Op)
	_, there := state.Members.Members[id]
	_, gone := state.Members.Removed[id]
	switch {
	case gone:
		return ErrMemberRemoved
	case op != raft.AddLearner && !there:
		return ErrNoSuchMember
	}
	if owner, taken := state.Members.OwnerOf(c.Member.PeerUrls, id); taken && op != raft.Remove {
		l.log.urlTaken(owner, c.Member.PeerUrls)
		return ErrPeerURLExists
	}
	switch isVoter := state.Config.IsVoter(id.Raft()); {
	case op == raft.Promote && isVoter:
		return &ReconfigurationError{Reason: fmt.Sprintf("member %v is a voter already", id)}
	case op == raft.Promote:
		return l.judgePromotion(id)
	case op != raft.Remove || !isVoter:
		return nil
	case len(state.Config.Voters) == 1:
		return ErrLastMember
	}
	return l.judgeRemoval(id)
}

// errTooEarly puts a judgement off: a new leader does not know yet who is alive.
var errTooEarly = errors.New("etcdserver: the leader has not heard from all members yet")

// judgeRemoval refuses to remove a living voter if those that are left would
// be no living quorum; a dead one may always go (M34).
func (l *raftLoop) judgeRemoval(id ID) error {
	status := l.machine.Status()
	alive := aliveVoters(status)
	dead := !slices.Contains(alive, id.Raft())
	left, needed := len(alive)-1, (len(status.Configuration.Voters)-1)/2+1
	switch {
	case !dead && left >= needed:
		return nil
	case l.changes.tenure <= int(l.policy.election/l.interval):
		return errTooEarly
	case dead:
		return nil
	}
	err := &ReconfigurationError{Reason: fmt.Sprintf(
		"re-configuration failed due to not enough started members: without %v %d of %d voters would be alive, and %d are needed",
		id, left, len(status.Configuration.Voters)-1, needed)}
	if !l.policy.strict {
		l.log.risky(err)
		return nil
	}
	return err
}

// judgePromotion refuses a voter that would endanger the quorum. Whether it has
// caught up is for raft to say.
func (l *raftLoop) judgePromotion(id ID) error {
	status := l.machine.Status()
	i := slices.IndexFunc(status.Progress, func(p raft.Progress) bool { return ID(p.ID) == id })
	switch {
	case i >= 0 && promotable(status, status.Progress[i]):
		return nil
	case l.changes.tenure <= int(l.policy.election/l.interval):
		return errTooEarly
	}
	return &ReconfigurationError{Reason: fmt.Sprintf(
		"member %v is not made a voter: the leader does not hear it, or too few of the other voters", id)}
}

// promotable tells whether a learner is heard, and the voters would have a living
// quorum with it.
func promotable(status raft.Status, p raft.Progress) bool {
	voters := len(status.Configuration.Voters)
	return p.Learner && p.Active && len(aliveVoters(status))+1 >= (voters+1)/2+1
}

// aliveVoters are those that the leader has heard lately, itself included.
func aliveVoters(s raft.Status) []raft.MemberID {
	alive := []raft.MemberID{s.ID}
	for _, p := range s.Progress {
		if p.Active && s.Configuration.IsVoter(p.ID) {
			alive = append(alive, p.ID)
		}
	}
	return alive
}

// reasons are the refusals that travel as numbers. The numbers are frozen.
var reasons = []struct {
	number uint32
	err    error
}{{1, ErrNoSuchMember}, {2, ErrMemberRemoved}, {3, ErrPeerURLExists}, {4, ErrLastMember}}

// reasonBusy comes from leaders of earlier versions that have no room for a change. An earlier leader may have done it.
const reasonBusy = 5

// refuseChange tells the one who asked.
func (l *raftLoop) refuseChange(c *waitingChange, err error) {
	applied := l.apply.present.Load().Index
	if c.from == 0 {
		l.changes.answers = append(l.changes.answers, answer{id: c.Id, applied: applied, err: err})
		return
	}
	a := &pb.Answer{Id: c.Id, Applied: uint64(applied), Text: err.Error()}
	if refusal := (*ReconfigurationError)(nil); errors.As(err, &refusal) {
		a.Text = refusal.Reason
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			a.Reason = r.number
		}
	}
	l.notify(c.from, &pb.Envelope{Answer: a})
}

// answered takes the leader's refusal.
func (l *raftLoop) answered(by ID, a *pb.Answer) {
	if a.Reason == reasonBusy {
		l.returned(by, []uint64{a.Id})
		return
	}
	var err error = &ReconfigurationError{Reason: a.Text}
	for _, r := range reasons {
		if a.Reason == r.number {
			err = r.err
		}
	}
	l.changes.answers = append(l.changes.answers, answer{id: a.Id, applied: raft.Index(a.Applied), err: err})
}

// giveBackChanges empties the door of a member that leads no more. Its own
// changes wait in the list of waiters.
func (l *raftLoop) giveBackChanges() {
	for _, c := range l.changes.waiting {
		if c.from != 0 {
			l.notify(c.from, &pb.Envelope{Returned: []uint64{c.Id}})
		}
	}
	l.changes.waiting = nil
}

// tickChanges forgets changes whose process has given up, and promotes.
func (l *raftLoop) tickChanges(status raft.Status) {
	q := &l.changes
	q.tenure++
	q.waiting = slices.DeleteFunc(q.waiting, func(c *waitingChange) bool {
		c.ticks++
		return time.Duration(c.ticks)*l.interval > requestTimeoutMax
	})
	if l.leading && l.policy.autoPromote && len(q.waiting) == 0 && l.apply.present.Load().Index >= q.settled {
		l.promote(status)
	}
}

// requestTimeoutMax is longer than any member waits for a change.
const requestTimeoutMax = time.Minute

// promote makes a learner that has caught up a voter, if the voters would then
// have a living quorum.
func (l *raftLoop) promote(status raft.Status) {
	state := l.apply.present.Load()
	for _, p := range status.Progress {
		info, known := state.Members.Members[ID(p.ID)]
		if !known || !promotable(status, p) {
			continue
		}
		context, err := (&pb.Change{Member: info.Proto()}).MarshalVT()
		if err != nil {
			l.log.badChange(ID(p.ID), err)
			continue
		}
		index, _, err := l.machine.ProposeConfChange(raft.ConfChange{Op: raft.Promote, Member: p.ID, Context: context})
		if err == nil {
			l.changes.settled = index
			return
		}
	}
}

// yieldOnFullDisk hands leadership over when this member's disk is full: another's may
// have room (R8). Should all be full, leadership wanders ever more slowly.
func (l *raftLoop) yieldOnFullDisk() {
	if !l.writer.space.full() {
		l.changes.wayWait, l.changes.wayAfter = 0, 0
		return
	}
	if !l.leading {
		return
	}
	if l.changes.wayWait++; l.changes.wayWait > l.changes.wayAfter && l.handOver() {
		l.changes.wayAfter = min(2*l.changes.wayAfter+int(l.policy.election/l.interval), wayTicksMax)
		l.changes.wayWait = 0
		l.log.makesWay()
	}
}

// wayTicksMax bounds the ticks between two attempts to make way.
const wayTicksMax = 600

// sameIncarnation compares what two sides know of a member's data directory;
// what is not known fits everything.
func sameIncarnation(a, b []byte) bool {
	return len(a) == 0 || len(b) == 0 || bytes.Equal(a, b)
}
