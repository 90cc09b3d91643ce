package etcdserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/raft"
	"canopy/store"
	"canopy/store/watch"
)

// testCluster is several members of one process, on a network and disks of
// their own.
type testCluster struct {
	t      *testing.T
	net    *network
	urls   map[string][]string
	disks  map[string]*disk.Mem
	adjust func(*Options)

	mu      sync.Mutex // guards members, for clients that run while members come and go
	members map[string]*running
}

// running gives the members that run, in no order.
func (c *testCluster) running() []*running {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.members))
}

func (c *testCluster) member(name string) *running {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[name]
}

// forget leaves a member out that has ended, or is about to.
func (c *testCluster) forget(m *running) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m.Name())
}

func newTestCluster(t *testing.T, size int, adjust func(*Options)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, net: newNetwork(), urls: map[string][]string{}, disks: map[string]*disk.Mem{},
		members: map[string]*running{}, adjust: adjust}
	for n := range size {
		name := fmt.Sprintf("m%d", n+1)
		c.urls[name] = []string{fmt.Sprintf("http://%s:2380", name)}
	}
	for name := range c.urls {
		c.launch(name, Bootstrap{Cluster: c.urls, Token: "test"})
	}
	for _, m := range c.members {
		c.awaitReady(m)
	}
	return c
}

// launch runs a member, on the disk it had if it ran before.
func (c *testCluster) launch(name string, b Bootstrap) *running {
	c.t.Helper()
	if c.disks[name] == nil {
		c.disks[name] = disk.NewMem()
	}
	o := testOptions(c.disks[name])
	o.Name, o.ClientURLs = name, []string{"http://" + name + ":2379"}
	o.Bootstrap = func() (Bootstrap, error) { return b, nil }
	o.Transport, o.AutoPromote, o.Strict = c.net.transport, true, true
	if c.adjust != nil {
		c.adjust(&o)
	}
	m, err := Open(o)
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Member: m, t: c.t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- m.Run(ctx) }()
	c.t.Cleanup(func() { stop(); <-m.Stopped() })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[name] = r
	return r
}

func (c *testCluster) awaitReady(m *running) {
	c.t.Helper()
	select {
	case <-m.Ready():
	case err := <-m.done:
		c.t.Fatalf("%s ended: %v", m.Name(), err)
	case <-time.After(hang):
		c.t.Fatalf("%s is not ready after %v: %+v", m.Name(), hang, m.Status())
	}
}

// leader waits for a leader that the members agree on.
func (c *testCluster) leader() *running {
	c.t.Helper()
	var found *running
	eventually(c.t, "a leader", func() bool {
		for _, m := range c.running() {
			if m.IsLeader() && m.Health(context.Background()) == nil {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// others gives the members but one.
func (c *testCluster) others(but *running) []*running {
	var all []*running
	for _, m := range c.running() {
		if m != but {
			all = append(all, m)
		}
	}
	return all
}

// hang is how long a test waits for what needs no more than a moment on a machine
// that does nothing else: only what never comes takes longer.
const hang = 2 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(hang)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", hang, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// agree waits until all members have applied the same and have the same tree.
// They write of their own accord too (a promotion, the time), so that trees are
// of one moment only if they turn out the same: trees that differ stay so.
func (c *testCluster) agree() {
	c.t.Helper()
	eventually(c.t, "the members to have applied the same", func() bool { return c.same(position) })
	eventually(c.t, "the members to have the same tree", func() bool { return c.same(savedTree) })
}

func (c *testCluster) same(show func(*running) string) bool {
	seen := map[string]bool{}
	for _, m := range c.members {
		seen[show(m)] = true
	}
	return len(seen) == 1
}

func position(m *running) string {
	index, _ := m.Position()
	return strconv.FormatUint(index, 10)
}

func savedTree(m *running) string {
	var b strings.Builder
	if err := m.store.View().Save(&b); err != nil {
		m.t.Fatal(err)
	}
	return b.String()
}

func (r *running) mustHold(key, value string) {
	r.t.Helper()
	view, err := r.Read(context.Background(), true)
	if err != nil {
		r.t.Fatalf("read from %s: %v", r.Name(), err)
	}
	if got := valueAt(r.t, view, key); got != value {
		r.t.Errorf("%s has %q at %s, want %q", r.Name(), got, key, value)
	}
}

// valueAt reads one key, as a client sees it; "" if there is none.
func valueAt(t *testing.T, v *store.View, key string) string {
	t.Helper()
	l, err := v.Get(mustKey(t, key), store.ReadOptions{})
	if err != nil {
		return ""
	}
	var answer struct{ Node struct{ Value string } }
	if err := json.Unmarshal(l.AppendJSON(nil), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Node.Value
}

// A write to any member can be read at once from any other.
func TestAnyMemberTakesWritesAndReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		for round := range 10 {
			for name, m := range c.members {
				value := fmt.Sprintf("%s-%d", name, round)
				m.set("/k/"+name, value)
				for _, other := range c.members {
					other.mustHold("/k/"+name, value)
				}
			}
		}
		c.agree()
		if v := c.leader().ClusterVersion(); v != ClusterVersion {
			t.Errorf("cluster version %q, want %q", v, ClusterVersion)
		}
	})
}

// Writers on all members, whose leader dies twice: each write is applied once,
// and those acknowledged are there (K123).
func TestAWriteIsAppliedOnceWhenTheLeaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		const writers, each = 12, 60
		results := make(chan error, writers)
		survivors := map[string]*running{}
		first := c.leader()
		for name, m := range c.members {
			if m != first {
				survivors[name] = m
			}
		}
		var doors []*running
		for _, m := range survivors {
			doors = append(doors, m)
		}
		for w := range writers {
			go func() {
				for n := range each {
					_, err := doors[w%len(doors)].Do(context.Background(), store.CreateInOrder{Dir: mustKey(t, "/q"), Value: fmt.Sprintf("%d-%d", w, n)})
					if err != nil {
						results <- fmt.Errorf("write %d-%d: %w", w, n, err)
						return
					}
				}
				results <- nil
			}()
		}
		eventually(t, "some writes", func() bool { index, _ := doors[0].Position(); return index > 60 })
		first.halt()
		delete(c.members, first.Name())
		for range writers {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		c.agree()
		view, err := doors[0].Read(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		queue, err := view.Get(mustKey(t, "/q"), store.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Node struct{ Nodes []struct{ Value string } }
		}
		if err := json.Unmarshal(queue.AppendJSON(nil), &answer); err != nil {
			t.Fatal(err)
		}
		times := map[string]int{}
		for _, child := range answer.Node.Nodes {
			times[child.Value]++
		}
		for value, n := range times {
			if n != 1 {
				t.Errorf("%s was applied %d times", value, n)
			}
		}
		if len(times) != writers*each {
			t.Errorf("%d values, want %d", len(times), writers*each)
		}
	})
}

// An isolated leader gives up its office, answers no linearizable read with an
// old value (R22), and follows when it is back, without deposing anybody (R29).
func TestAnIsolatedLeaderStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		old := c.leader()
		old.set("/k", "old")
		c.net.isolate(old.ID(), true)
		rest := c.others(old)
		var next *running
		eventually(t, "another leader", func() bool {
			for _, m := range rest {
				if m.IsLeader() {
					next = m
				}
			}
			return next != nil
		})
		next.set("/k", "new")
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if view, err := old.Read(ctx, true); err == nil {
			t.Fatalf("a linearizable read on the isolated member gave %q", valueAt(t, view, "/k"))
		}
		eventually(t, "the old leader to step down", func() bool { return !old.IsLeader() })
		term := next.Status().Term
		c.net.isolate(old.ID(), false)
		old.mustHold("/k", "new")
		if got := next.Status(); got.Term != term || got.Role != raft.Leader {
			t.Errorf("after the return %v leads in term %d, want term %d", got.Role, got.Term, term)
		}
		c.agree()
	})
}

// A leader that is heard but hears nobody steps down; so does not the one that
// is elected then, though the old one cannot hear it.
func TestAsymmetricPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		deaf := c.leader()
		deaf.set("/k", "old")
		for _, other := range c.others(deaf) {
			c.net.cut(other.ID(), deaf.ID(), true)
		}
		rest := c.others(deaf)
		eventually(t, "another leader", func() bool { return rest[0].IsLeader() || rest[1].IsLeader() })
		rest[0].set("/k", "new")
		rest[1].mustHold("/k", "new")
		if deaf.IsLeader() {
			t.Error("the deaf member still leads")
		}
		for _, other := range rest {
			c.net.cut(other.ID(), deaf.ID(), false)
		}
		deaf.mustHold("/k", "new")
		c.agree()
	})
}

// join adds a member and starts it.
func (c *testCluster) join(name string) *running {
	c.t.Helper()
	urls := []string{fmt.Sprintf("http://%s:2380", name)}
	asked := c.leader()
	added, err := asked.AddMember(context.Background(), urls)
	if err != nil {
		c.t.Fatalf("add %s: %v", name, err)
	}
	joined := &Joined{Cluster: asked.ClusterID(), Self: added.ID, Members: asked.Members()}
	m := c.launch(name, Bootstrap{Joined: joined})
	c.awaitReady(m)
	return m
}

// A cluster of one grows to three while it is written to; new members follow
// as learners and are promoted (M36).
func TestAClusterGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		lone := c.members["m1"]
		lone.set("/before", "1")
		for _, name := range []string{"m2", "m3"} {
			m := c.join(name)
			eventually(t, name+" to be a voter", func() bool {
				return lone.apply.Present().Config.IsVoter(m.ID().Raft())
			})
			m.set("/"+name, "1")
		}
		for _, m := range c.members {
			m.mustHold("/before", "1")
			m.mustHold("/m3", "1")
			if n := len(m.Members()); n != 3 {
				t.Errorf("%s knows %d members, want 3", m.Name(), n)
			}
		}
		c.agree()
	})
}

// Members that never start cost a cluster nothing, and can be removed (R36).
func TestDeadMembersDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		lone := c.members["m1"]
		var added []ID
		for n := range 3 {
			info, err := lone.AddMember(context.Background(), []string{fmt.Sprintf("http://nowhere:%d", n+1)})
			if err != nil {
				t.Fatal(err)
			}
			added = append(added, info.ID)
			lone.set("/k", fmt.Sprint(n))
		}
		if _, err := lone.AddMember(context.Background(), []string{"http://nowhere:2"}); !errors.Is(err, ErrPeerURLExists) {
			t.Errorf("adding a URL twice: %v, want %v", err, ErrPeerURLExists)
		}
		if err := lone.UpdateMember(context.Background(), added[0], []string{"http://elsewhere:1"}); err != nil {
			t.Errorf("update: %v", err)
		}
		if err := lone.RemoveMember(context.Background(), lone.ID()); !errors.Is(err, ErrLastMember) {
			t.Errorf("removing the last voter: %v, want %v", err, ErrLastMember)
		}
		for _, id := range added {
			if err := lone.RemoveMember(context.Background(), id); err != nil {
				t.Errorf("remove %v: %v", id, err)
			}
		}
		if err := lone.RemoveMember(context.Background(), added[0]); !errors.Is(err, ErrMemberRemoved) {
			t.Errorf("removing twice: %v, want %v", err, ErrMemberRemoved)
		}
		if err := lone.RemoveMember(context.Background(), 12345); !errors.Is(err, ErrNoSuchMember) {
			t.Errorf("removing an unknown member: %v, want %v", err, ErrNoSuchMember)
		}
	})
}

// A leader that is removed hands over, and ends; its data directory is refused
// from then on (R40, M43, M45).
func TestARemovedLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		old := c.leader()
		asked := c.others(old)[0]
		if err := asked.RemoveMember(context.Background(), old.ID()); err != nil {
			t.Fatalf("remove the leader: %v", err)
		}
		var gone *RemovedError
		if err := <-old.done; !errors.As(err, &gone) || gone.Member != old.ID() {
			t.Fatalf("the removed leader ended with %v", err)
		}
		delete(c.members, old.Name())
		asked.set("/after", "1")
		c.agree()
		o := testOptions(c.disks[old.Name()])
		if _, err := Open(o); !errors.As(err, &gone) || gone.Member != old.ID() {
			t.Errorf("opening the directory of a removed member: %v", err)
		}
	})
}

// A member that was away while it was removed is told by the others, and ends (R38).
func TestARemovedMemberIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		away := c.others(c.leader())[0]
		away.halt()
		delete(c.members, away.Name())
		asked := c.leader()
		if err := asked.RemoveMember(context.Background(), away.ID()); err != nil {
			t.Fatal(err)
		}
		asked.set("/after", "1")
		back := c.launch(away.Name(), Bootstrap{})
		delete(c.members, away.Name())
		var gone *RemovedError
		select {
		case err := <-back.done:
			if !errors.As(err, &gone) {
				t.Errorf("the removed member ended with %v", err)
			}
		case <-time.After(hang):
			t.Error("the removed member goes on")
		}
	})
}

// Removing a living voter is refused when those left would be no quorum; a
// dead one may go (M34).
func TestRemovalsKeepTheQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		leader := c.leader()
		rest := c.others(leader)
		rest[0].halt()
		delete(c.members, rest[0].Name())
		eventually(t, "the leader to notice", func() bool { return heard(leader) == 2 })
		var refused *ReconfigurationError
		if err := rest[1].RemoveMember(context.Background(), rest[1].ID()); !errors.As(err, &refused) {
			t.Errorf("removing a living member of two: %v, want a refusal", err)
		}
		if err := rest[1].RemoveMember(context.Background(), rest[0].ID()); err != nil {
			t.Errorf("removing the dead one: %v", err)
		}
		leader.set("/k", "1")
	})
}

// keepLittle lets a member keep few entries for slow followers.
func keepLittle(o *Options) { o.queues.KeepBytes = 1 << 10 }

// outrun has the leader write, and forget, so much that a member that is cut off needs a snapshot. The cluster was made with
// keepLittle.
func (leader *running) outrun() {
	leader.t.Helper()
	for n := range 300 {
		leader.set(fmt.Sprintf("/k%d", n%10), fmt.Sprint(n))
	}
	leader.set("/k", "last")
	eventually(leader.t, "the leader to forget", func() bool { return leader.Status().First > 200 })
}

// A follower that was away for longer than the log is kept gets a snapshot, and
// follows from there (K114); it restarts from it, too.
func TestASlowFollowerGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.SnapshotEntries = 100; keepLittle(o) })
		leader := c.leader()
		slow := c.others(leader)[0]
		watcher, err := slow.Watch(mustKey(t, "/"), watch.Options{Recursive: true, Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		defer watcher.Close()
		c.net.isolate(slow.ID(), true)
		leader = c.leader()
		for leader == slow {
			leader = c.leader()
		}
		leader.outrun()
		c.net.isolate(slow.ID(), false)
		slow.mustHold("/k", "last")
		eventually(t, "the slow member's log to begin behind a snapshot", func() bool { return slow.Status().First > 200 })
		c.agree()
		slow.halt()
		again := c.launch(slow.Name(), Bootstrap{})
		c.awaitReady(again)
		again.mustHold("/k", "last")
		c.agree()
	})
}

// A clean stop of the leader hands over first, so that nobody waits for an
// election (F38, M46).
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(o *Options) { o.Election = 2 * time.Second })
		leader := c.leader()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		leader.HandOver(ctx)
		if leader.IsLeader() {
			t.Fatal("the leader still leads")
		}
		c.others(leader)[0].set("/k", "1")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("handing over took %v", took)
		}
	})
}

// lead makes a member the leader.
func (c *testCluster) lead(m *running) {
	c.t.Helper()
	eventually(c.t, m.Name()+" to lead", func() bool {
		leader := c.leader()
		if leader != m {
			leader.raft.HandOverTo(m.ID())
		}
		return leader == m
	})
}

// Leaders whose wall clocks are an hour ahead or behind let keys live as long
// as they were told to, and no longer (R30).
func TestClocksThatAreAnHourOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		c := newTestCluster(t, 3, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(off) } })
		for _, off = range []time.Duration{time.Hour, -time.Hour, 0} {
			m := c.others(c.leader())[0]
			before := c.leader()
			command := store.Set{Key: mustKey(t, "/long"), Value: "1", TTL: store.TTL{Set: true, Seconds: 60}}
			if _, err := before.Do(context.Background(), command); err != nil {
				t.Fatal(err)
			}
			c.forget(m)
			m.halt()
			c.restart(m.Name())
			m = c.member(m.Name())
			c.lead(m)
			m.mustHold("/long", "1")
			command = store.Set{Key: mustKey(t, "/short"), Value: "1", TTL: store.TTL{Set: true, Seconds: 1}}
			began := time.Now()
			if _, err := m.Do(context.Background(), command); err != nil {
				t.Fatal(err)
			}
			for _, each := range c.running() {
				eventually(t, "the key to expire", func() bool {
					return valueAt(t, each.store.View(), "/short") == "" && time.Since(began) > 900*time.Millisecond
				})
			}
			if lived := time.Since(began); lived > 1500*time.Millisecond {
				t.Errorf("with a clock that is %v off a key of a second lived %v", off, lived)
			}
			m.mustHold("/long", "1")
		}
		c.agree()
	})
}
