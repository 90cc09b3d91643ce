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
	owner     rafthttp.Owner
	envelopes chan []byte // what was sent to the leader
}

func (s *stage) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s *stage) SetPeers([]rafthttp.Peer)      {}
func (s *stage) Send([]raft.Outbound)          {}
func (s *stage) Status() []rafthttp.PeerStatus { return nil }
func (s *stage) SendEnvelope(_ raft.MemberID, envelope []byte) bool {
	s.envelopes <- envelope
	return true
}

func (s *stage) SendSnapshot(context.Context, raft.MemberID, raft.Snapshot, io.Reader, int64) error {
	return errUnreachable
}

// forwarded waits for an envelope with a request, and gives the request.
func (s *stage) forwarded(t *testing.T) string {
	t.Helper()
	for end := time.After(hang); ; {
		select {
		case data := <-s.envelopes:
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
	s := &stage{envelopes: make(chan []byte, 100)}
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
