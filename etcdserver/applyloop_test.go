package etcdserver

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// applier applies entries, and nothing else: what a member does between
// starting and stopping.
type applier struct {
	t    *testing.T
	loop *applyLoop
}

func newApplier(t *testing.T, i *installation) *applier {
	a := &applyLoop{
		store: i.store, clock: newLogClock(time.Now()), waiters: newWaiters(1), observer: &Observer{}, log: memberLog{entry: quietLog().WithField("pkg", "test")},
		snapshot: &snapshotter{cluster: 1, minEntries: math.MaxUint64}, changed: func(*applied) {},
		deadlineChanged: make(chan struct{}, 1), next: i.state, sessions: i.sessions, time: i.store.View().Time(),
	}
	a.state.Store(&i.state)
	return &applier{t, a}
}

func newState() *installation {
	members := newMembership().withMember(MemberInfo{ID: 7, PeerURLs: []string{"http://seven:2380"}})
	return &installation{store: store.New(store.Options{}), sessions: newSessions(),
		state: applied{members: members, config: raft.Configuration{Voters: []raft.MemberID{7}}}}
}

func (a *applier) apply(r *pb.Request) {
	a.t.Helper()
	b, err := r.MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.loop.applyBatch([]raft.Entry{{Index: a.loop.next.index + 1, Term: 1, Data: b}}); err != nil {
		a.t.Fatal(err)
	}
}

// restarted is a member that goes on with what this one's snapshot holds.
func (a *applier) restarted() *applier {
	a.t.Helper()
	var b bytes.Buffer
	if err := saveState(&b, 1, a.loop.job()); err != nil {
		a.t.Fatal(err)
	}
	loaded, err := loadState(&b, 1, store.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	return newApplier(a.t, loaded)
}

// hash is what members compare.
func (a *applier) hash() uint64 {
	a.t.Helper()
	head, err := headOf(1, &a.loop.next, a.loop.sessions.toProto()).MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	return a.loop.store.Hash() + xxhash.Sum64(head)
}

func (a *applier) set(at store.Time, session, id uint64, key string, ttl store.TTL) *pb.Request {
	a.t.Helper()
	command, err := store.EncodeCommand(nil, store.Set{Key: mustKey(a.t, key), Value: fmt.Sprint(id), TTL: ttl})
	if err != nil {
		a.t.Fatal(err)
	}
	return &pb.Request{Time: uint64(at), Session: session, Id: id, Command: command}
}

// Whatever was applied, a member that goes on from a snapshot gets to the same
// state as one that never stopped: also with a leader whose clock is hours off,
// after a request that is no command, and so on.
func TestARestartedMemberGoesOnInTheSameWay(t *testing.T) {
	r := dice(t)
	for round := range 200 {
		always := newApplier(t, newState())
		other := newApplier(t, newState())
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
	switch r.IntN(6) {
	case 0:
		return &pb.Request{Time: uint64(at), NewLeader: true}
	case 1:
		return &pb.Request{Time: uint64(at), Session: 9, Id: 1 + r.Uint64N(100), Publish: &pb.Attributes{Member: 7, Name: "seven"}}
	case 2:
		return &pb.Request{Time: uint64(at), ClusterVersion: "2.3.0"}
	case 3:
		return &pb.Request{Time: uint64(at) + 3600*uint64(store.Second), NewLeader: true}
	case 4:
		return &pb.Request{Time: uint64(at)}
	}
	ttl := store.TTL{Set: r.IntN(2) == 0, Seconds: r.Uint64N(5)}
	return a.set(at, 1+r.Uint64N(3), 1+r.Uint64N(50), fmt.Sprintf("/k%d", r.IntN(5)), ttl)
}

// A new leader whose clock is an hour ahead moves the log's time by an hour. No
// session has been idle for that long: a request that comes again is known.
func TestAClockThatIsAheadAgesNoSession(t *testing.T) {
	a := newApplier(t, newState())
	at := store.Time(time.Now().UnixNano())
	first := a.set(at, 1, 1, "/k", store.TTL{})
	a.apply(first)
	at += store.Time(3600 * store.Second)
	a.apply(&pb.Request{Time: uint64(at), NewLeader: true})
	a.apply(a.set(at, 2, 1, "/other", store.TTL{}))
	before := a.loop.store.View().Index()
	first.Time = uint64(at)
	a.apply(first)
	if after := a.loop.store.View().Index(); after != before {
		t.Errorf("the request was applied again: index %d, then %d", before, after)
	}
}
