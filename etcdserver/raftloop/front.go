package raftloop

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sync/semaphore"

	"canopy/etcdserver/applier"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/inbox"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Front is what other goroutines use of a Loop. Any goroutine may call its methods.
type Front struct {
	proposals *inbox.Inbox[pending.Proposal]
	reads     *inbox.Inbox[readRequest]
	calls     *inbox.Inbox[func(*Loop)] // run in the loop
	inbound   chan inbound
	room      *semaphore.Weighted // for entries in inbound
	followers *Followers
	transport Transport
	interval  time.Duration // of one tick
	stopped   <-chan struct{}
}

// inbound is what came from another member at once.
type inbound struct {
	from     raft.MemberID
	messages []raft.Message
	bytes    int64 // of entries in them, as far as they count
}

func newFront(o Options) *Front {
	return &Front{
		proposals: inbox.New[pending.Proposal](cmp.Or(o.Limits.Proposals, proposalQueue)).Weighing(pending.Proposal.Size, proposalBytes),
		reads:     inbox.New[readRequest](readQueue),
		calls:     inbox.New[func(*Loop)](callQueue),
		inbound:   make(chan inbound, inboundQueue),
		room:      semaphore.NewWeighted(inboundBytes),
		followers: newFollowers(),
		transport: o.Transport, interval: o.Interval, stopped: o.Stopped,
	}
}

// Followers measure how other members follow this one.
func (f *Front) Followers() *Followers { return f.followers }

// Propose takes a request of this process, which is in the list of pending requests. If
// there is no room for it, the loop has it from that list.
func (f *Front) Propose(p pending.Proposal) {
	if !f.proposals.Put(p) {
		f.calls.Put((*Loop).resendSoon)
	}
}

// ReadIndex gives an index: a read that is made when it is applied sees every write that
// was acknowledged before the call. Errors: ErrTooBusy, ErrStopped, and that of ctx.
func (f *Front) ReadIndex(ctx context.Context) (raft.Index, error) {
	r := readRequest{index: make(chan raft.Index, 1), gone: ctx.Done()}
	if !f.reads.Put(r) {
		return 0, outcome.ErrTooBusy
	}
	select {
	case index := <-r.index:
		return index, nil
	case <-f.stopped:
		return 0, outcome.ErrStopped
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Receive takes raft's messages from another member. It waits while the loop has many.
func (f *Front) Receive(ctx context.Context, from raft.MemberID, messages []raft.Message) {
	in := inbound{from, messages, min(entryBytes(messages), inboundBytes)}
	if f.room.Acquire(ctx, in.bytes) != nil {
		return // the stream ends, or the member
	}
	select {
	case f.inbound <- in:
	case <-ctx.Done():
	case <-f.stopped:
	}
}

// entryBytes is the length of all entries' data in messages.
func entryBytes(messages []raft.Message) (bytes int64) {
	for _, message := range messages {
		if m, ok := message.(raft.Append); ok {
			for i := range m.Entries {
				bytes += int64(len(m.Entries[i].Data))
			}
		}
	}
	return bytes
}

// ReceiveRequests takes requests that another member forwarded. Those for which there is
// no room go back to it.
func (f *Front) ReceiveRequests(from replica.ID, requests []pending.Proposal) {
	var refused []uint64
	for _, p := range requests {
		if !f.proposals.Put(p) {
			refused = append(refused, p.ID())
		}
	}
	if len(refused) > 0 {
		f.calls.Put(func(l *Loop) { l.front.Notify(from, &pb.Envelope{Returned: refused}) })
	}
}

// ReceiveChange takes a change of the membership that another member forwarded.
func (f *Front) ReceiveChange(from replica.ID, c *pb.Change) {
	f.calls.Put(func(l *Loop) { l.receiveChange(from, c) })
}

// Returned is told that another member did not take requests of this one.
func (f *Front) Returned(by replica.ID, ids []uint64) {
	f.calls.Put(func(l *Loop) { l.returned(by, ids) })
}

// Answered takes the leader's refusal of a change.
func (f *Front) Answered(by replica.ID, a *pb.Answer) {
	f.calls.Put(func(l *Loop) { l.answered(by, a) })
}

// Lost is told that messages to a member may be lost. Raft repeats its own.
func (f *Front) Lost(peer replica.ID) { f.calls.Put(func(l *Loop) { l.lost(peer) }) }

// SnapshotSent tells raft whether a member has the snapshot that it needed; false means
// that the loop has no room for the call.
func (f *Front) SnapshotSent(to raft.MemberID, ok bool) bool {
	return f.calls.Put(func(l *Loop) { l.machine.SnapshotSent(to, ok) })
}

// TakeSnapshot gives raft the message of a snapshot, together with the state that was
// loaded from it. It returns when raft has decided whether it takes it.
func (f *Front) TakeSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, prepared *applier.Installation) error {
	stepped := make(chan error, 1)
	if !f.calls.Put(func(l *Loop) { stepped <- l.takeSnapshot(from, message, prepared) }) {
		return outcome.ErrTooBusy
	}
	select {
	case err := <-stepped:
		return err
	case <-f.stopped:
		return outcome.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Notify sends an envelope to a member; false if it was not even queued.
func (f *Front) Notify(to replica.ID, envelope *pb.Envelope) bool {
	data, err := envelope.MarshalVT()
	assert(err == nil, "encode an envelope: %v", err)
	return f.transport.SendEnvelope(to.Raft(), data)
}
