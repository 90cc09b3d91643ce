package etcdserver

import (
	"context"
	"io"
	"testing"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/rafthttp"
	"canopy/store"
)

// stage is a transport on which a test plays the other members.
type stage struct {
	owner rafthttp.Owner
	notes chan []byte // what was sent to the leader
}

func (s *stage) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s *stage) SetPeers([]rafthttp.Peer)      {}
func (s *stage) Send([]raft.Outbound)          {}
func (s *stage) Status() []rafthttp.PeerStatus { return nil }
func (s *stage) SendEnvelope(_ raft.MemberID, note []byte) bool {
	s.notes <- note
	return true
}

func (s *stage) SendSnapshot(context.Context, raft.MemberID, raft.Snapshot, io.Reader, int64) error {
	return errUnreachable
}

// forwarded waits for a note with a request, and gives the request.
func (s *stage) forwarded(t *testing.T) string {
	t.Helper()
	for end := time.After(hang); ; {
		select {
		case data := <-s.notes:
			var envelope pb.Envelope
			if err := envelope.UnmarshalVT(data); err != nil {
				t.Fatal(err)
			}
			if len(envelope.Forward) > 0 {
				return string(envelope.Forward[0])
			}
		case <-end:
			t.Fatal("no request was sent to the leader")
		}
	}
}

// K118: a leader that died with a request, and is elected again before this member hears of an election, is sent the
// request again.
func TestALeaderThatIsElectedAgainIsAskedAgain(t *testing.T) {
	s := &stage{notes: make(chan []byte, 100)}
	o := testOptions(disk.NewMem())
	o.Name, o.Heartbeat, o.Election = "m1", time.Minute, 10*time.Minute // nobody campaigns
	o.Bootstrap = func() (Bootstrap, error) {
		urls := map[string][]string{"m1": {"http://m1:2380"}, "m2": {"http://m2:2380"}, "m3": {"http://m3:2380"}}
		return Bootstrap{Cluster: urls, Token: "test"}, nil
	}
	o.Transport = func(_ rafthttp.Identity, owner rafthttp.Owner) Transport {
		s.owner = owner
		return s
	}
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the members to be known", func() bool { return len(m.Members()) == 3 })
	var leader raft.MemberID
	for _, each := range m.Members() {
		if each.ID != m.ID() {
			leader = each.ID.Raft()
		}
	}
	elected := func(term raft.Term) {
		s.owner.Receive(ctx, leader, []raft.Message{raft.Append{Term: term, PrevIndex: 3, PrevTerm: 1, Commit: 3}})
	}
	elected(2)
	key := mustKey(t, "/k")
	go func() { _, _ = m.Do(ctx, store.Set{Key: key, Value: "v"}) }() // nobody answers
	first := s.forwarded(t)
	elected(3)
	for again := s.forwarded(t); again != first; again = s.forwarded(t) { // what the member says of itself goes the same way
	}
}

// TestNothingIsRefusedThatMayBeDone: requests that a leader had, and that are more than
// this member holds for the next one, are not answered as if nothing was done.
func TestNothingIsRefusedThatMayBeDone(t *testing.T) {
	l := &raftLoop{waiters: newWaiters(1), peers: &stage{notes: make(chan []byte, 1)}, requests: requestQueue{heldMax: heldMax}}
	var waiting []*waiter
	for range heldMax + 1000 {
		w, err := l.waiters.register(proposal{data: reserveID(nil, idTag)})
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, w)
	}
	l.hold(l.waiters.pending(nil))
	for _, w := range waiting {
		select {
		case o := <-w.done:
			t.Fatalf("request %d was answered with %v", w.proposal.id(), o.err)
		default:
		}
	}
	if l.requests.resend == 0 {
		t.Error("those that are not held are not proposed again")
	}
}

// TestNoChangeIsRefusedForWantOfRoom: a change that the leader has no room for may be in the log of an earlier leader, so
// it is tried again, whoever asked for it.
func TestNoChangeIsRefusedForWantOfRoom(t *testing.T) {
	s := &stage{notes: make(chan []byte, 1)}
	l := &raftLoop{self: 1, leader: 1, leading: true, waiters: newWaiters(1), peers: s, requests: requestQueue{heldMax: heldMax}}
	l.changes.waiting = make([]*waitingChange, changesMax)
	for i := range l.changes.waiting {
		l.changes.waiting[i] = &waitingChange{Change: &pb.Change{Session: 7, Id: uint64(i)}}
	}
	data, err := (&pb.Change{Op: uint32(raft.Remove), Member: &pb.Member{Id: 3}, Session: 1}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	own, err := l.waiters.register(proposal{data: reserveID(data, changeTag), change: true})
	if err != nil {
		t.Fatal(err)
	}
	l.route(l.waiters.pending(nil))
	if len(l.requests.held) != 1 || len(own.done) != 0 || len(l.changes.answers) != 0 {
		t.Errorf("a change of this process is not held: %+v, answers %v", l.requests.held, l.changes.answers)
	}
	l.queueChange(&waitingChange{Change: &pb.Change{Session: 9, Id: 42}, from: 2})
	var envelope pb.Envelope
	if err := envelope.UnmarshalVT(<-s.notes); err != nil || len(envelope.Returned) != 1 || envelope.Returned[0] != 42 {
		t.Errorf("the change of another member is answered with %v, %v; it should go back", &envelope, err)
	}
	l.requests.held = nil
	l.answered(2, &pb.Answer{Id: own.proposal.id(), Reason: reasonBusy}) // of a leader of an earlier version
	if len(l.changes.waiting) != changesMax || len(own.done) != 0 || len(l.changes.answers) != 0 || len(l.requests.held) != 1 {
		t.Errorf("a change that a leader of an earlier version has no room for is not tried again: answers %v", l.changes.answers)
	}
}
