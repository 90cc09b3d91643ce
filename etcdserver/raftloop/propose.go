package raftloop

import (
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// stampEvery is how long the log may be idle while keys with deadlines exist
// before the leader stamps its time on it. After a crash that gap is what keys
// may live too long, since time without a leader does not count (R51).
const stampEvery = 5 * time.Second

// forwardBytes is about how much is forwarded to the leader in one envelope.
const forwardBytes = 1 << 20

// resendTicks is how long after a loss on the way to the leader all pending requests
// are sent to it again.
const resendTicks = 2

// requestQueue is what the loop knows of requests on their way into the log.
type requestQueue struct {
	held    []pending.Proposal // not taken by the leader yet
	heldMax int                // so many at most
	taken   []pending.Proposal // scratch
	payload [][]byte           // scratch

	lastStamp   store.Time // the time last stamped on an entry
	openingOwed bool       // the leader's first request is not in the log
	tickOwed    bool       // a deadline is due, or a stamp
	checkOwed   bool       // the members are to compare their state
	checked     raft.Index // last entry when the members were told to
	checkTicks  int        // between two such times
	sinceCheck  int        // ticks
	expiry      *time.Timer
	resend      int // ticks until what waits is sent again; 0: no need
}

// propose takes all that is waiting, as one batch.
func (l *Loop) propose() {
	l.requests.taken = l.front.proposals.Take(l.requests.taken)
	l.proposeHeld()
	l.route(l.requests.taken)
}

func (l *Loop) proposeHeld() {
	if len(l.requests.held) == 0 {
		return
	}
	batch := l.requests.held
	l.requests.held = nil
	l.route(batch)
}

// proposeAgain proposes all requests of this process whose outcome is unknown.
// None is applied twice (replica/sessions.go).
func (l *Loop) proposeAgain() {
	l.requests.resend = 0
	var foreign []pending.Proposal
	for _, p := range l.requests.held {
		if p.From != 0 {
			foreign = append(foreign, p)
		}
	}
	l.requests.held = nil
	l.route(append(foreign, l.pending.Requests(nil)...))
}

// route brings requests to the leader. While there is none, those of this process wait
// in the list of pending requests, and the others go back.
func (l *Loop) route(batch []pending.Proposal) {
	switch {
	case l.leading:
		l.append(l.takeChanges(batch))
	case l.leader != 0:
		l.forward(batch)
	default:
		l.giveBack(batch)
	}
}

// append stamps a batch with the time and proposes it.
func (l *Loop) append(batch []pending.Proposal) {
	if len(batch) == 0 {
		return
	}
	q := &l.requests
	if q.openingOwed && !l.proposeOwed() {
		l.hold(batch)
		return
	}
	q.payload = q.payload[:0]
	now := l.stamp()
	for _, p := range batch {
		if p.From != 0 {
			p = p.Clone() // its buffer holds others, too
		}
		q.payload = append(q.payload, pending.AppendTime(p.Data, now))
	}
	_, _, err := l.machine.Propose(q.payload...)
	clear(q.payload)
	if err != nil {
		l.hold(batch)
	}
}

// hold keeps requests until the leader, this member or another, takes more. Their own
// time-outs end them. A request of this process for which there is no room is proposed
// again from the list of pending requests: a refusal would say that nothing was done,
// although an earlier leader may have done it.
func (l *Loop) hold(batch []pending.Proposal) {
	q := &l.requests
	foreign := foreignBytes(q.held)
	var back []pending.Proposal
	for _, p := range batch {
		if p.From != 0 {
			foreign += len(p.Data)
		}
		if len(q.held) < q.heldMax && (p.From == 0 || foreign <= heldForeignMax) {
			q.held = append(q.held, p)
			continue
		}
		back = append(back, p)
		if p.From == 0 {
			l.resendSoon()
		}
	}
	l.giveBack(back)
}

// resendSoon has all pending requests proposed again.
func (l *Loop) resendSoon() {
	if l.requests.resend == 0 {
		l.requests.resend = resendTicks
	}
}

// foreignBytes is the memory that requests of other members take. Those of this process are bounded in pending.List.
func foreignBytes(held []pending.Proposal) (bytes int) {
	for _, p := range held {
		if p.From != 0 {
			bytes += len(p.Data)
		}
	}
	return bytes
}

// forward sends requests to the leader, several in one envelope.
func (l *Loop) forward(batch []pending.Proposal) {
	for len(batch) > 0 {
		envelope := &pb.Envelope{}
		n, bytes := 0, 0
		for n < len(batch) && (n == 0 || bytes+len(batch[n].Data) <= forwardBytes) {
			p := batch[n]
			if p.From != 0 || p.Change {
				break
			}
			envelope.Forward = append(envelope.Forward, p.Data)
			bytes += len(p.Data)
			n++
		}
		if n == 0 {
			l.forwardOne(batch[0])
			batch = batch[1:]
			continue
		}
		if !l.front.Notify(l.leader, envelope) {
			l.hold(batch)
			return
		}
		batch = batch[n:]
	}
}

// forwardOne forwards a change, which has an envelope of its own. A request that another
// member sent here goes back to it: it may know by now who leads.
func (l *Loop) forwardOne(p pending.Proposal) {
	if p.From != 0 {
		l.giveBack([]pending.Proposal{p})
		return
	}
	change := &pb.Change{}
	if err := change.UnmarshalVT(p.Data); err != nil || !l.front.Notify(l.leader, &pb.Envelope{Kind: &pb.Envelope_Change{Change: change}}) {
		l.hold([]pending.Proposal{p})
	}
}

// giveBack tells other members that their requests were not taken; they try again.
func (l *Loop) giveBack(batch []pending.Proposal) {
	ids := map[replica.ID][]uint64{}
	for _, p := range batch {
		if p.From != 0 {
			ids[p.From] = append(ids[p.From], p.ID())
		}
	}
	for from, returned := range ids {
		l.front.Notify(from, &pb.Envelope{Returned: returned})
	}
}

// returned tries requests again that another member did not take: at once if
// the leader is another one by now, else after a while.
func (l *Loop) returned(by replica.ID, ids []uint64) {
	back := map[uint64]bool{}
	for _, id := range ids {
		back[id] = true
	}
	again := l.pending.Requests(func(id uint64) bool { return back[id] })
	if l.leader != by {
		l.route(again)
		return
	}
	l.hold(again)
}

// lost is told that messages to a member may be lost. If it is the leader, pending
// requests are sent again soon.
func (l *Loop) lost(peer replica.ID) {
	l.followers.lost(peer.Raft())
	if peer == l.leader && l.requests.resend == 0 {
		l.requests.resend = resendTicks
	}
}

// tickRequests proposes what is owed, and what is held or has to be sent again.
func (l *Loop) tickRequests() {
	q := &l.requests
	l.tickCheck()
	l.proposeOwed()
	if q.resend > 0 {
		if q.resend--; q.resend == 0 {
			l.proposeAgain()
			return
		}
	}
	l.proposeHeld()
}

// proposeOwed proposes the leader's own requests: the one that opens its term,
// and ticks, which let the log's time pass, so that keys whose deadline is due
// expire. It is false if they have to wait.
func (l *Loop) proposeOwed() bool {
	q := &l.requests
	if !l.leading {
		return false
	}
	if q.openingOwed {
		if !l.proposeOwn(&pb.Request{Kind: &pb.Request_NewLeader{NewLeader: true}}) { // from it on time passes again
			return false
		}
		q.openingOwed = false
	}
	if q.tickOwed || q.checkOwed {
		tick := &pb.Request{}
		if q.checkOwed {
			tick.Kind = &pb.Request_Check{Check: true}
		}
		if !l.proposeOwn(tick) {
			return false
		}
		q.tickOwed, q.checkOwed = false, false
	}
	return true
}

// tickCheck makes the members compare their state, if it has changed since the last
// comparison.
func (l *Loop) tickCheck() {
	q, state := &l.requests, l.apply.Present()
	if q.sinceCheck++; q.sinceCheck < q.checkTicks || !l.leading || len(state.Members.Members) < 2 {
		return
	}
	q.sinceCheck = 0
	if state.Index > q.checked+1 { // more than the entry of the last comparison
		q.checked, q.checkOwed = state.Index, true
	}
}

// proposeOwn proposes a request of the leader itself, which nobody waits for.
func (l *Loop) proposeOwn(r *pb.Request) bool {
	data, err := pending.EncodeOwn(r, l.stamp())
	assert(err == nil, "encode a leader's request: %v", err)
	_, _, err = l.machine.Propose(data)
	return err == nil
}

// stamp gives the time for new entries. It never goes back, whatever happens.
func (l *Loop) stamp() store.Time {
	l.requests.lastStamp = max(l.requests.lastStamp, l.clock.Now())
	return l.requests.lastStamp
}

// setExpiry arms the timer for the earliest deadline of the store.
func (l *Loop) setExpiry() {
	deadline, ok := l.apply.NextDeadline()
	if !ok {
		l.requests.expiry.Stop()
		return
	}
	l.requests.expiry.Reset(min(l.clock.Until(deadline), stampEvery))
}
