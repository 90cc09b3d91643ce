package etcdserver

import (
	"context"
	"fmt"
	"io"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/consistency"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/peerlist"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/raftloop"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/transfer"
	"canopy/raft"
	"canopy/rafthttp"
)

// Transport carries messages between members; rafthttp.Transport does it over
// the peer port. Send, SendEnvelope, SetPeers and Status return at once; what there is no
// room for is dropped. SendSnapshot returns when the snapshot is there, or is not.
type Transport interface {
	Run(ctx context.Context) error
	SetPeers(peers []rafthttp.Peer)
	Send(out []raft.Outbound)
	SendEnvelope(to raft.MemberID, envelope []byte) bool
	SendSnapshot(ctx context.Context, to raft.MemberID, m raft.Snapshot, body io.Reader, size int64) error
	Status() []rafthttp.PeerStatus
}

// peerFront is what other members may ask of this one (rafthttp.Owner). Any goroutine may call
// its methods.
type peerFront struct {
	self       ID
	peers      *peerlist.List
	raft       *raftloop.Front
	apply      *applier.Front
	comparison *consistency.Comparison
	snapshots  *transfer.Receiver
	removal    *removal
	log        memberlog.Log
}

// Admit says whether another member may talk to this one.
func (p *peerFront) Admit(peer raft.MemberID, incarnation [16]byte) *rafthttp.Refusal {
	return p.peers.Admit(peer, incarnation)
}

// Receive takes raft's messages from another member.
func (p *peerFront) Receive(ctx context.Context, from raft.MemberID, messages []raft.Message) {
	p.raft.Receive(ctx, from, messages)
}

// ReceiveSnapshot takes a snapshot that the leader sends.
func (p *peerFront) ReceiveSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, body io.Reader) error {
	return p.snapshots.Receive(ctx, from, message, body)
}

// ReceiveEnvelope takes requests for the leader's log from another member, or its
// answer to those of this one. What cannot be applied is refused.
func (p *peerFront) ReceiveEnvelope(_ context.Context, from raft.MemberID, data []byte) {
	var envelope pb.Envelope
	if err := envelope.UnmarshalVTUnsafe(data); err != nil {
		p.log.BadEnvelope(ID(from), err)
		return
	}
	if len(envelope.Forward) > 0 {
		p.raft.ReceiveRequests(ID(from), p.checkForwarded(ID(from), envelope.Forward))
	}
	if len(envelope.Returned) > 0 {
		p.raft.Returned(ID(from), envelope.Returned)
	}
	switch kind := envelope.Kind.(type) {
	case *pb.Envelope_Change:
		p.receiveChange(ID(from), kind.Change)
	case *pb.Envelope_Answer:
		p.raft.Answered(ID(from), kind.Answer)
	case *pb.Envelope_Hash:
		p.receiveHash(ID(from), kind.Hash)
	case *pb.Envelope_Inquire:
		p.peers.Answer(ID(from))
	case *pb.Envelope_MemberList:
		p.log.Named(ID(from), p.peers.Receive(ID(from), kind.MemberList))
	}
}

// checkForwarded gives those of the requests that a member can have made.
func (p *peerFront) checkForwarded(from ID, requests [][]byte) (good []pending.Proposal) {
	for _, request := range requests {
		if err := pending.CheckForwarded(request); err != nil {
			p.log.BadEnvelope(from, err)
			continue
		}
		good = append(good, pending.Proposal{Data: request, From: from})
	}
	return good
}

func (p *peerFront) receiveChange(from ID, c *pb.Change) {
	op := raft.ConfChangeOp(c.Op)
	if c.Member == nil || c.Member.Id == 0 || op != raft.AddLearner && op != raft.Promote && op != raft.Remove && op != raft.UpdateContext {
		p.log.BadEnvelope(from, fmt.Errorf("a membership change of kind %v makes no sense", op))
		return
	}
	p.raft.ReceiveChange(from, c)
}

// Lost is told that messages to a member may be lost. Raft repeats its own.
func (p *peerFront) Lost(peer raft.MemberID) { p.raft.Lost(ID(peer)) }

// Removed is told by another member that this one was removed. It is believed if it
// happened after all that this one has applied (R15).
func (p *peerFront) Removed(by raft.MemberID, term raft.Term, index raft.Index) {
	state := p.apply.Present()
	if _, known := state.Members.Removed[p.self]; known {
		return
	}
	if index <= state.Index {
		p.log.Doubted(ID(by), index)
		return
	}
	p.removal.begin(replica.Removal{Term: term, Index: index})
}

// hashFormat changes with what is hashed; members compare equal formats only.
const hashFormat = 1

func (p *peerFront) receiveHash(from ID, h *pb.StateHash) {
	if h.Format == hashFormat {
		p.comparison.Heard(from, replica.StateHash{Index: raft.Index(h.Index), Hash: h.Hash}, h.Ask, p.apply.Present())
	}
}
