package etcdserver

import (
	"encoding/binary"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// stampEvery is how long the log may be idle while keys with deadlines exist
// before the leader stamps its time on it. After a crash that gap is what keys
// may live too long, since time without a leader does not count (R51).
const stampEvery = 5 * time.Second

// forwardBytes is about how much is forwarded to the leader in one note.
const forwardBytes = 1 << 20

// resendTicks is how long after a loss on the way to the leader all that waits
// is sent to it again.
const resendTicks = 2

// requestQueue is what the raft loop knows of requests on their way into the log.
type requestQueue struct {
	held    []proposal // not taken by the leader yet
	heldMax int        // so many at most
	taken   []proposal // scratch
	payload [][]byte   // scratch

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
func (l *raftLoop) propose() {
	l.requests.taken = l.proposals.take(l.requests.taken)
	l.proposeHeld()
	l.route(l.requests.taken)
}

func (l *raftLoop) proposeHeld() {
	if len(l.requests.held) == 0 {
		return
	}
	batch := l.requests.held
	l.requests.held = nil
	l.route(batch)
}

// proposeAgain proposes all requests of this process whose outcome is unknown.
// None is applied twice (sessions.go).
func (l *raftLoop) proposeAgain() {
	l.requests.resend = 0
	var foreign []proposal
	for _, p := range l.requests.held {
		if p.from != 0 {
			foreign = append(foreign, p)
		}
	}
	l.requests.held = nil
	l.route(append(foreign, l.waiters.pending(nil)...))
}

// route brings requests to the leader. While there is none, those of this
// process wait in the list of waiters, and the others go back.
func (l *raftLoop) route(batch []proposal) {
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
func (l *raftLoop) append(batch []proposal) {
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
		data := p.data
		if p.from != 0 {
			data = append(make([]byte, 0, len(data)+timeRoom), data...) // its buffer holds others, too
		}
		q.payload = append(q.payload, appendTime(data, now))
	}
	_, _, err := l.machine.Propose(q.payload...)
	clear(q.payload)
	if err != nil {
		l.hold(batch)
	}
}

// hold keeps requests until the leader, this member or another, takes more;
// their own time-outs end them. One of this process for which there is no room is
// in the list of waiters, and proposed again from there: to refuse it would be to
// say that nothing is done, though a leader before this one may have done it.
func (l *raftLoop) hold(batch []proposal) {
	q := &l.requests
	foreign := foreignBytes(q.held)
	var back []proposal
	for _, p := range batch {
		if p.from != 0 {
			foreign += len(p.data)
		}
		if len(q.held) < q.heldMax && (p.from == 0 || foreign <= heldForeignMax) {
			q.held = append(q.held, p)
			continue
		}
		back = append(back, p)
		if p.from == 0 {
			l.resendSoon()
		}
	}
	l.giveBack(back)
}

// resendSoon has all that waits proposed again.
func (l *raftLoop) resendSoon() {
	if l.requests.resend == 0 {
		l.requests.resend = resendTicks
	}
}

// foreignBytes is the memory that requests of other members take. Those of this process are the waiters' to bound.
func foreignBytes(held []proposal) (bytes int) {
	for _, p := range held {
		if p.from != 0 {
			bytes += len(p.data)
		}
	}
	return bytes
}

// forward sends requests to the leader, several in one note.
func (l *raftLoop) forward(batch []proposal) {
	for len(batch) > 0 {
		envelope := &pb.Envelope{}
		n, bytes := 0, 0
		for n < len(batch) && (n == 0 || bytes+len(batch[n].data) <= forwardBytes) {
			p := batch[n]
			if p.from != 0 || p.change {
				break
			}
			envelope.Forward = append(envelope.Forward, p.data)
			bytes += len(p.data)
			n++
		}
		if n == 0 {
			l.forwardOne(batch[0])
			batch = batch[1:]
			continue
		}
		if !l.notify(l.leader, envelope) {
			l.hold(batch)
			return
		}
		batch = batch[n:]
	}
}

// forwardOne forwards what does not go with others: a change; what others sent
// here goes back to them, who know best who leads.
func (l *raftLoop) forwardOne(p proposal) {
	if p.from != 0 {
		l.giveBack([]proposal{p})
		return
	}
	envelope := &pb.Envelope{Change: &pb.Change{}}
	if err := envelope.Change.UnmarshalVT(p.data); err != nil || !l.notify(l.leader, envelope) {
		l.hold([]proposal{p})
	}
}

// giveBack tells other members that their requests were not taken; they try again.
func (l *raftLoop) giveBack(batch []proposal) {
	ids := map[ID][]uint64{}
	for _, p := range batch {
		if p.from != 0 {
			ids[p.from] = append(ids[p.from], p.id())
		}
	}
	for from, returned := range ids {
		l.notify(from, &pb.Envelope{Returned: returned})
	}
}

// returned tries requests again that another member did not take: at once if
// the leader is another one by now, else after a while.
func (l *raftLoop) returned(by ID, ids []uint64) {
	back := map[uint64]bool{}
	for _, id := range ids {
		back[id] = true
	}
	again := l.waiters.pending(func(id uint64) bool { return back[id] })
	if l.leader != by {
		l.route(again)
		return
	}
	l.hold(again)
}

// lost hears that messages to a member may be gone. If it is the leader, what
// waits for it is sent again soon.
func (l *raftLoop) lost(peer ID) {
	l.followers.lost(peer.Raft())
	if peer == l.leader && l.requests.resend == 0 {
		l.requests.resend = resendTicks
	}
}

// notify sends a note to a member; false if it was not even queued.
func (l *raftLoop) notify(to ID, envelope *pb.Envelope) bool {
	data, err := envelope.MarshalVT()
	assert(err == nil, "encode a note: %v", err)
	return l.peers.SendEnvelope(to.Raft(), data)
}

// tickRequests does what is owed.
func (l *raftLoop) tickRequests() {
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
func (l *raftLoop) proposeOwed() bool {
	q := &l.requests
	if !l.leading {
		return false
	}
	if q.openingOwed {
		if !l.proposeOwn(&pb.Request{NewLeader: true}) { // from it on time passes again
			return false
		}
		q.openingOwed = false
	}
	if q.tickOwed || q.checkOwed {
		if !l.proposeOwn(&pb.Request{Check: q.checkOwed}) {
			return false
		}
		q.tickOwed, q.checkOwed = false, false
	}
	return true
}

// tickCheck has the members compare their state, if it has changed since they
// did so last.
func (l *raftLoop) tickCheck() {
	q, state := &l.requests, l.apply.present.Load()
	if q.sinceCheck++; q.sinceCheck < q.checkTicks || !l.leading || len(state.Members.Members) < 2 {
		return
	}
	q.sinceCheck = 0
	if state.Index > q.checked+1 { // more than the entry of the last comparison
		q.checked, q.checkOwed = state.Index, true
	}
}

// proposeOwn proposes a request of the leader itself, which nobody waits for.
func (l *raftLoop) proposeOwn(r *pb.Request) bool {
	b := make([]byte, r.SizeVT(), r.SizeVT()+timeRoom)
	n, err := r.MarshalToSizedBufferVT(b)
	assert(err == nil && n == len(b), "encode a leader's request: %v", err)
	_, _, err = l.machine.Propose(appendTime(b, l.stamp()))
	return err == nil
}

// stamp gives the time for new entries. It never goes back, whatever happens.
func (l *raftLoop) stamp() store.Time {
	l.requests.lastStamp = max(l.requests.lastStamp, l.clock.now())
	return l.requests.lastStamp
}

// appendTime completes an encoded Request with its time.
func appendTime(data []byte, t store.Time) []byte {
	return binary.LittleEndian.AppendUint64(append(data, timeTag), uint64(t))
}

// stampOf is the time of an entry; 0 if it has none.
func stampOf(e raft.Entry) store.Time {
	at := len(e.Data) - timeRoom
	if e.Type != raft.EntryNormal || at < 0 || e.Data[at] != timeTag {
		return 0
	}
	return store.Time(binary.LittleEndian.Uint64(e.Data[at+1:]))
}

// setExpiry arms the timer for the earliest deadline of the store.
func (l *raftLoop) setExpiry() {
	deadline, ok := l.apply.nextDeadline()
	if !ok {
		l.requests.expiry.Stop()
		return
	}
	l.requests.expiry.Reset(min(l.clock.until(deadline), stampEvery))
}
