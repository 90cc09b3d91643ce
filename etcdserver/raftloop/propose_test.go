package raftloop

import (
	"testing"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/pending"
	"canopy/raft"
)

// TestHeldRequestsAreBoundedInBytes: other members' requests that the leader cannot take now go back when they are too
// many bytes; this process's own are bounded where they wait.
func TestHeldRequestsAreBoundedInBytes(t *testing.T) {
	sent := make(outbox, 1)
	l := newTestLoop(sent)
	large := make([]byte, heldForeignMax/4)
	var batch []pending.Proposal
	for range 6 {
		batch = append(batch, pending.Proposal{Data: large, From: 2}, pending.Proposal{Data: large})
	}
	l.hold(batch)
	if len(l.requests.held) != 4+6 {
		t.Errorf("%d requests are held, want 4 of the other member and 6 own", len(l.requests.held))
	}
	var envelope pb.Envelope
	if err := envelope.UnmarshalVT(<-sent); err != nil || len(envelope.Returned) != 2 {
		t.Errorf("%d requests went back, want 2; %v", len(envelope.Returned), err)
	}
}

// TestNothingIsRefusedThatMayBeDone: requests that a leader had, and that are more than
// this member holds for the next one, are not answered as if nothing was done.
func TestNothingIsRefusedThatMayBeDone(t *testing.T) {
	l := newTestLoop(make(outbox, 1))
	for range HeldMax + 1000 {
		data, err := pending.EncodeRequest(&pb.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.pending.Register(pending.Proposal{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	l.hold(l.pending.Requests(nil))
	if waiting := len(l.pending.Requests(nil)); waiting != HeldMax+1000 {
		t.Errorf("%d requests wait, so %d were answered", waiting, HeldMax+1000-waiting)
	}
	if l.requests.resend == 0 {
		t.Error("those that are not held are not proposed again")
	}
}

// TestNoChangeIsRefusedForWantOfRoom: a change that the leader has no room for may be in the log of an earlier leader, so
// it is tried again, whoever asked for it.
func TestNoChangeIsRefusedForWantOfRoom(t *testing.T) {
	sent := make(outbox, 1)
	l := newTestLoop(sent)
	l.leader, l.leading = 1, true
	l.changes.waiting = make([]*waitingChange, changesMax)
	for i := range l.changes.waiting {
		l.changes.waiting[i] = &waitingChange{Change: &pb.Change{Session: 7, Id: uint64(i)}}
	}
	data, err := pending.EncodeChange(&pb.Change{Op: uint32(raft.Remove), Member: &pb.Member{Id: 3}, Session: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.pending.Register(pending.Proposal{Data: data, Change: true}); err != nil {
		t.Fatal(err)
	}
	own := l.pending.Requests(nil)
	answered := func() bool { return len(l.pending.Requests(nil)) == 0 }
	l.route(own)
	if len(l.requests.held) != 1 || answered() || len(l.changes.answers) != 0 {
		t.Errorf("a change of this process is not held: %+v, answers %v", l.requests.held, l.changes.answers)
	}
	l.queueChange(&waitingChange{Change: &pb.Change{Session: 9, Id: 42}, from: 2})
	var envelope pb.Envelope
	if err := envelope.UnmarshalVT(<-sent); err != nil || len(envelope.Returned) != 1 || envelope.Returned[0] != 42 {
		t.Errorf("the change of another member is answered with %v, %v; it should go back", &envelope, err)
	}
	l.requests.held = nil
	l.answered(2, &pb.Answer{Id: own[0].ID(), Reason: reasonBusy}) // of a leader of an earlier version
	if len(l.changes.waiting) != changesMax || answered() || len(l.changes.answers) != 0 || len(l.requests.held) != 1 {
		t.Errorf("a change that a leader of an earlier version has no room for is not tried again: answers %v", l.changes.answers)
	}
}
