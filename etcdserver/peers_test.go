package etcdserver

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/rafthttp"
	"canopy/store"
)

// request encodes a Request as a member forwards it.
func request(t testing.TB, r *pb.Request, id uint64) []byte {
	t.Helper()
	data, err := r.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	p := proposal{data: reserveID(data, idTag)}
	p.setID(id)
	return p.data
}

func setCommand(t testing.TB) []byte {
	t.Helper()
	key, err := store.ParseKey("/k")
	if err != nil {
		t.Fatal(err)
	}
	command, err := store.EncodeCommand(nil, store.Set{Key: key, Value: "v"})
	if err != nil {
		t.Fatal(err)
	}
	return command
}

// Only what a member's door could have made gets near the log.
func TestForwardedRequestsAreChecked(t *testing.T) {
	good := request(t, &pb.Request{Session: 7, Command: setCommand(t)}, 3)
	if err := checkForwarded(good); err != nil {
		t.Errorf("a good request: %v", err)
	}
	if err := checkForwarded(request(t, &pb.Request{Session: 7, Publish: &pb.Attributes{Member: 1}}, 3)); err != nil {
		t.Errorf("a publication: %v", err)
	}
	for name, data := range map[string][]byte{
		"nothing":            nil,
		"half a request":     good[:len(good)/2],
		"no id":              good[:len(good)-idRoom],
		"id 0":               request(t, &pb.Request{Session: 7, Command: setCommand(t)}, 0),
		"no session":         request(t, &pb.Request{Command: setCommand(t)}, 3),
		"no command":         request(t, &pb.Request{Session: 7}, 3),
		"a bad command":      request(t, &pb.Request{Session: 7, Command: []byte("\xff\xff")}, 3),
		"a leader's opening": request(t, &pb.Request{Session: 7, NewLeader: true, Command: setCommand(t)}, 3),
		"a time":             request(t, &pb.Request{Session: 7, Time: 9, Command: setCommand(t)}, 3),
		"a version":          request(t, &pb.Request{Session: 7, ClusterVersion: "9.0.0"}, 3),
	} {
		if err := checkForwarded(data); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Whatever a peer sends as a note, a member goes on.
func FuzzReceiveEnvelope(f *testing.F) {
	for _, envelope := range []*pb.Envelope{
		{Forward: [][]byte{request(f, &pb.Request{Session: 7, Command: setCommand(f)}, 3)}},
		{Change: &pb.Change{Op: uint32(raft.AddLearner), Member: &pb.Member{Id: 9, PeerUrls: []string{"http://x:1"}}, Id: 1, Session: 7}},
		{Returned: []uint64{1, 2, 3}},
		{Answer: &pb.Answer{Id: 1, Reason: 2, Text: "no"}},
	} {
		data, err := envelope.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	o := testOptions(disk.NewMem())
	m, err := Open(o)
	if err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	<-m.Ready()
	f.Cleanup(func() { stop(); <-done })
	f.Fuzz(func(t *testing.T, data []byte) {
		m.ReceiveEnvelope(context.Background(), 99, bytes.Clone(data))
		if _, err := m.Do(context.Background(), store.Set{Key: mustKey(t, "/alive"), Value: "1"}); err != nil {
			t.Fatalf("after %q: %v", data, err)
		}
	})
}

// Who may talk: members, with the data directory that they always had (R34, R35).
func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.leader()
		other := c.others(leader)[0]
		var own, strange [16]byte
		copy(own[:], other.incarnation)
		strange[0] = 1
		reason := func(r *rafthttp.Refusal) any {
			if r == nil {
				return nil
			}
			return r.Reason
		}
		for _, tt := range []struct {
			name        string
			id          raft.MemberID
			incarnation [16]byte
			want        any
		}{
			{"a member", other.ID().Raft(), own, nil},
			{"a member that lost its data", other.ID().Raft(), strange, rafthttp.OtherIncarnation},
			{"a stranger", 12345, strange, rafthttp.Unknown},
		} {
			if got := reason(leader.Admit(tt.id, tt.incarnation)); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		if err := leader.RemoveMember(context.Background(), other.ID()); err != nil {
			t.Fatal(err)
		}
		refusal := leader.Admit(other.ID().Raft(), own)
		if reason(refusal) != rafthttp.Removed || refusal.Index == 0 || refusal.Term == 0 {
			t.Errorf("a removed member: %+v, want a refusal that names the entry", refusal)
		}
		delete(c.members, other.Name())
	})
}

// The first who spoke for a member stays it until the member has published
// itself.
func TestTheFirstContactCounts(t *testing.T) {
	c := firstIncarnations{seen: map[raft.MemberID][16]byte{}}
	for n, tt := range []struct {
		id          raft.MemberID
		incarnation byte
		want        bool
	}{{1, 1, true}, {1, 1, true}, {1, 2, false}, {2, 2, true}} {
		if got := c.first(tt.id, [16]byte{tt.incarnation}); got != tt.want {
			t.Errorf("contact %d, of data directory %d of member %d: first = %v", n+1, tt.incarnation, tt.id, got)
		}
	}
}

// That this member was removed is believed only of an entry it has not applied (R15).
func TestARumourOfRemovalIsNotBelieved(t *testing.T) {
	m := start(t, testOptions(disk.NewMem()))
	m.set("/k", "1")
	index, _ := m.Position()
	m.Removed(9, 1, raft.Index(index))
	m.set("/k", "2")
	m.Removed(9, 1, raft.Index(index+100))
	if err := <-m.done; err == nil {
		t.Error("the member ended without saying why")
	}
}

// TestASnapshotTellsWhoIsRemoved: a member that learns by a snapshot that another
// was removed has it as a peer no longer, and so measures it no longer.
func TestASnapshotTellsWhoIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 4, func(o *Options) { o.SnapshotEntries = 100 })
		leader := c.leader()
		others := c.others(leader)
		slow, gone := others[0], others[1]
		isPeer := func() bool {
			return slices.ContainsFunc(slow.peers.Status(), func(p rafthttp.PeerStatus) bool { return ID(p.ID) == gone.ID() })
		}
		if !isPeer() {
			t.Fatal("the members are no peers")
		}
		c.net.isolate(slow.ID(), true)
		eventually(t, "the leader to notice", func() bool { return len(aliveVoters(leader.Status())) == 3 })
		if err := leader.RemoveMember(t.Context(), gone.ID()); err != nil {
			t.Fatal(err)
		}
		c.forget(gone)
		leader.outrun()
		c.net.isolate(slow.ID(), false)
		eventually(t, "the slow member's log to begin behind a snapshot", func() bool { return slow.Status().First > 200 })
		eventually(t, "the removed member to be no peer", func() bool { return !isPeer() })
	})
}
