package etcdserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/pending"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/rafthttp"
	"canopy/store"
)

// request encodes a Request as a member forwards it.
func request(t testing.TB, r *pb.Request, id uint64) []byte {
	t.Helper()
	data, err := pending.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(data[len(data)-8:], id)
	return data
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

// Whatever a peer sends as an envelope, a member goes on.
func FuzzReceiveEnvelope(f *testing.F) {
	for _, envelope := range []*pb.Envelope{
		{Forward: [][]byte{request(f, &pb.Request{Session: 7, Kind: &pb.Request_Command{Command: setCommand(f)}}, 3)}},
		{Kind: &pb.Envelope_Change{Change: &pb.Change{Op: uint32(raft.AddLearner), Member: &pb.Member{Id: 9, PeerUrls: []string{"http://x:1"}}, Id: 1, Session: 7}}},
		{Returned: []uint64{1, 2, 3}},
		{Kind: &pb.Envelope_Answer{Answer: &pb.Answer{Id: 1, Reason: 2, Text: "no"}}},
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
		m.peerFront.ReceiveEnvelope(context.Background(), 99, bytes.Clone(data))
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
		var own, unknown [16]byte
		copy(own[:], leader.peers.Info(other.ID()).Incarnation)
		unknown[0] = 1
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
			{"a member that lost its data", other.ID().Raft(), unknown, rafthttp.OtherIncarnation},
			{"an unknown member", 12345, unknown, rafthttp.Unknown},
		} {
			if got := reason(leader.peerFront.Admit(tt.id, tt.incarnation)); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
		if err := leader.RemoveMember(context.Background(), other.ID()); err != nil {
			t.Fatal(err)
		}
		refusal := leader.peerFront.Admit(other.ID().Raft(), own)
		if reason(refusal) != rafthttp.Removed || refusal.Index == 0 || refusal.Term == 0 {
			t.Errorf("a removed member: %+v, want a refusal that names the entry", refusal)
		}
		delete(c.members, other.Name())
	})
}

// That this member was removed is believed only of an entry it has not applied (R15).
func TestAnOldReportOfRemovalIsNotBelieved(t *testing.T) {
	m := start(t, testOptions(disk.NewMem()))
	m.set("/k", "1")
	index, _ := m.Position()
	m.peerFront.Removed(9, 1, raft.Index(index))
	m.set("/k", "2")
	m.peerFront.Removed(9, 1, raft.Index(index+100))
	if err := <-m.done; err == nil {
		t.Error("the member ended without saying why")
	}
}

// TestASnapshotTellsWhoIsRemoved: a member that learns by a snapshot that another
// was removed has it as a peer no longer, and so measures it no longer.
func TestASnapshotTellsWhoIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 4, func(o *Options) { o.SnapshotEntries = 100; keepLittle(o) })
		leader := c.leader()
		others := c.others(leader)
		slow, gone := others[0], others[1]
		isPeer := func() bool {
			return slices.ContainsFunc(slow.transport.Status(), func(p rafthttp.PeerStatus) bool { return ID(p.ID) == gone.ID() })
		}
		if !isPeer() {
			t.Fatal("the members are no peers")
		}
		c.net.isolate(slow.ID(), true)
		eventually(t, "the leader to notice", func() bool { return heard(leader) == 3 })
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
