package replica

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/internal/rng"
	"canopy/raft"
	"canopy/store"
)

// applier applies entries, and nothing else: what a member does between
// starting and stopping.
type applier struct {
	t *testing.T
	*State
}

func newApplier(t *testing.T) *applier {
	s := New(1, store.Options{})
	s.Members = s.Members.With(MemberInfo{ID: 7, PeerURLs: []string{"http://seven:2380"}})
	s.Config = raft.Configuration{Voters: []raft.MemberID{7}}
	return &applier{t, s}
}

func (a *applier) apply(r *pb.Request) {
	a.t.Helper()
	b, err := r.MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	a.entry(raft.Entry{Index: a.Index + 1, Term: 1, Data: b})
}

func (a *applier) entry(e raft.Entry) {
	a.t.Helper()
	var content Content
	if err := content.Decode(e); err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.Apply(e, &content); err != nil {
		a.t.Fatal(err)
	}
	a.Store.Publish()
}

// restarted is a member that goes on with what this one's snapshot holds.
func (a *applier) restarted() *applier {
	a.t.Helper()
	var b bytes.Buffer
	if err := a.Snapshot().Save(&b); err != nil {
		a.t.Fatal(err)
	}
	loaded, _, err := Load(&b, 1, store.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	return &applier{a.t, loaded}
}

// hash is what members compare.
func (a *applier) hash() uint64 {
	a.t.Helper()
	hash, err := a.Hash()
	if err != nil {
		a.t.Fatal(err)
	}
	return hash
}

func (a *applier) set(at store.Time, session, id uint64, key string, ttl store.TTL) *pb.Request {
	a.t.Helper()
	parsed, err := store.ParseKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	command, err := store.EncodeCommand(nil, store.Set{Key: parsed, Value: fmt.Sprint(id), TTL: ttl})
	if err != nil {
		a.t.Fatal(err)
	}
	return &pb.Request{Time: uint64(at), Session: session, Id: id, Kind: &pb.Request_Command{Command: command}}
}

// Whatever was applied, a member that goes on from a snapshot gets to the same
// state as one that never stopped: also with a leader whose clock is hours off,
// after a request that is no command, and so on.
func TestARestartedMemberGoesOnInTheSameWay(t *testing.T) {
	r := rng.New(t)
	for round := range 200 {
		always := newApplier(t)
		other := newApplier(t)
		at := store.Time(time.Now().UnixNano())
		for step := range 40 {
			at += store.Time(r.Int64N(int64(3 * store.Second)))
			request := randomRequest(always, r, at)
			always.apply(request)
			other.apply(request)
			if r.IntN(4) == 0 {
				other = other.restarted()
			}
			if always.hash() != other.hash() {
				t.Fatalf("round %d: after step %d, %v, the states differ", round, step, request)
			}
		}
	}
}

func randomRequest(a *applier, r *rand.Rand, at store.Time) *pb.Request {
	switch r.IntN(9) {
	case 6, 7:
		request := &pb.Request{Time: uint64(at), Session: 5, Id: 1 + r.Uint64N(1000), AuthRevision: r.Uint64N(20), Requester: []string{"", "root", "bob"}[r.IntN(3)]}
		request.Kind = &pb.Request_Auth{Auth: OperationToProto(randomOperation(r))}
		return request
	case 8:
		request := a.set(at, 1+r.Uint64N(3), 1+r.Uint64N(50), fmt.Sprintf("/k%d", r.IntN(5)), store.TTL{})
		request.Requester, request.AuthRevision = []string{"", "root", "bob"}[r.IntN(3)], r.Uint64N(20)
		return request
	case 0:
		return &pb.Request{Time: uint64(at), Kind: &pb.Request_NewLeader{NewLeader: true}}
	case 1:
		return &pb.Request{Time: uint64(at), Session: 9, Id: 1 + r.Uint64N(100), Kind: &pb.Request_Publish{Publish: &pb.Attributes{Member: 7, Name: "seven"}}}
	case 2:
		return &pb.Request{Time: uint64(at), Kind: &pb.Request_ClusterVersion{ClusterVersion: "2.3.0"}}
	case 3:
		return &pb.Request{Time: uint64(at) + 3600*uint64(store.Second), Kind: &pb.Request_NewLeader{NewLeader: true}}
	case 4:
		return &pb.Request{Time: uint64(at)}
	}
	ttl := store.TTL{Set: r.IntN(2) == 0, Seconds: r.Uint64N(5)}
	return a.set(at, 1+r.Uint64N(3), 1+r.Uint64N(50), fmt.Sprintf("/k%d", r.IntN(5)), ttl)
}

func randomOperation(r *rand.Rand) auth.Operation {
	user, role := []string{"root", "bob"}[r.IntN(2)], []string{"guest", "r"}[r.IntN(2)]
	patterns := auth.Permissions{Read: []string{"/*"}, Write: []string{fmt.Sprintf("/k%d", r.IntN(5))}}
	switch r.IntN(9) {
	case 0, 1:
		return auth.PutUser{Name: user, Hash: []byte("hash")}
	case 2:
		return auth.PutUser{Name: user, Grant: []string{role}}
	case 3:
		return auth.PutRole{Name: role, Permissions: patterns}
	case 4:
		return auth.PutRole{Name: role, Revoke: patterns}
	case 5:
		return []auth.Operation{auth.DeleteUser{Name: user}, auth.DeleteRole{Name: role}, auth.Disable{}}[r.IntN(3)]
	case 6:
		return auth.CreateToken{Token: auth.Token{ID: auth.TokenID{byte(r.IntN(3))}, User: user, Roles: [][]string{nil, {}}[r.IntN(2)]}, Lifetime: r.Int64N(int64(5 * store.Second))}
	case 7:
		return auth.DeleteToken{ID: auth.TokenID{byte(r.IntN(3))}}
	}
	return auth.Enable{}
}

// A new leader whose clock is an hour ahead moves the log's time by an hour. No
// session has been idle for that long: a request that comes again is known.
func TestAClockThatIsAheadAgesNoSession(t *testing.T) {
	a := newApplier(t)
	at := store.Time(time.Now().UnixNano())
	first := a.set(at, 1, 1, "/k", store.TTL{})
	a.apply(first)
	at += store.Time(3600 * store.Second)
	a.apply(&pb.Request{Time: uint64(at), Kind: &pb.Request_NewLeader{NewLeader: true}})
	a.apply(a.set(at, 2, 1, "/other", store.TTL{}))
	before := a.Store.View().Index()
	first.Time = uint64(at)
	a.apply(first)
	if after := a.Store.View().Index(); after != before {
		t.Errorf("the request was applied again: index %d, then %d", before, after)
	}
}

// TestCopiesInTheLogAreAppliedAlike: leaders of older versions may write an update twice. All
// versions must make the same of that, since members compare their lists.
func TestCopiesInTheLogAreAppliedAlike(t *testing.T) {
	always, other := newApplier(t), newApplier(t)
	for _, update := range []*pb.Change{
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://older:2380"}}, Session: 1, Id: 1},
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://newer:2380"}}, Session: 2, Id: 1},
		{Member: &pb.Member{Id: 7, PeerUrls: []string{"http://older:2380"}}, Session: 1, Id: 1},
	} {
		always.update(update)
		other.update(update)
		if got := always.Members.Members[7].PeerURLs; !slices.Equal(got, update.Member.PeerUrls) {
			t.Errorf("the list has %v after an update to %v", got, update.Member.PeerUrls)
		}
		if other = other.restarted(); always.hash() != other.hash() {
			t.Error("a member that was restarted has another state")
		}
	}
}

func (a *applier) update(c *pb.Change) {
	a.t.Helper()
	context, err := c.MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	data, err := raft.ConfChange{Op: raft.UpdateContext, Member: raft.MemberID(c.Member.Id), Context: context}.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	a.entry(raft.Entry{Index: a.Index + 1, Term: 1, Type: raft.EntryConfChange, Data: data})
}
