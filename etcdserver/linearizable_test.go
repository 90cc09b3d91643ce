package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"canopy/internal/rng"
	"canopy/store"
)

// What clients did to one key: a read, a set, a compare-and-swap, or a
// removal, which is conditional if it has a from.
type operation struct {
	key       string
	kind      string // "read", "set", "swap" or "remove"
	from, to  string
	local     bool // a read that is not linearizable
	unknown   bool // the outcome: a write may have happened, or may yet
	found     string
	different bool // a swap or removal that found another value: found
	missing   bool // or that found nothing
}

// registers is the model: each key holds a value, "" if there is none. A write
// whose outcome is unknown leaves both states possible.
var registers = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(operation).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, _, output any) []any {
		value, o := state.(string), output.(operation)
		switch {
		case o.kind == "read":
			if o.found == value {
				return []any{value}
			}
			return nil
		case o.missing && value == "", o.different && o.found == value && value != o.from:
			return []any{value}
		case o.missing || o.different:
			return nil
		case o.applies(value) && o.unknown:
			return []any{value, o.to}
		case o.applies(value):
			return []any{o.to}
		case o.unknown:
			return []any{value}
		}
		return nil
	},
}

// applies tells whether a write has its effect on a value.
func (o operation) applies(value string) bool {
	switch {
	case o.kind == "set":
		return true
	case o.from == "":
		return value != ""
	}
	return value == o.from
}

// history gathers what clients do.
type history struct {
	mu    sync.Mutex // guards done
	done  []porcupine.Operation
	began time.Time
	acks  atomic.Uint64
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

// run does an operation on a member, and records it.
func (h *history) run(t *testing.T, client int, m *Member, o operation) {
	call := h.now()
	ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer cancel()
	in := o
	if o.kind == "read" {
		view, err := m.Read(ctx, !o.local)
		if err != nil {
			return // it read nothing
		}
		o.found = valueAt(t, view, o.key)
	} else {
		key, err := store.ParseKey(o.key)
		if err != nil {
			t.Error(err)
			return
		}
		var command store.Command = store.Set{Key: key, Value: o.to}
		if o.kind == "swap" {
			command = store.CompareAndSwap{Key: key, Value: o.to, PrevValue: o.from}
		}
		_, err = m.Do(ctx, command)
		o = judged(t, o, err)
	}
	end := h.now()
	if o.unknown {
		end = int64(time.Hour) // it may happen at any later time
	} else {
		h.acks.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, porcupine.Operation{ClientId: client, Input: in, Output: o, Call: call, Return: end})
}

// judged says what an error of a write means.
func judged(t *testing.T, o operation, err error) operation {
	var refused *store.Error
	switch {
	case err == nil:
	case errors.As(err, &refused) && refused.Code == store.CodeCompareFailed:
		o.different = true
		if _, serr := fmt.Sscanf(refused.Cause, "["+o.from+" != %s", &o.found); serr != nil {
			t.Errorf("cause %q: %v", refused.Cause, serr)
		}
		o.found = o.found[:len(o.found)-1]
	case errors.As(err, &refused):
		t.Errorf("%+v: %v", o, err)
	default:
		o.unknown = true
	}
	return o
}

// clients do operations on all members until ctx ends.
func (h *history) clients(ctx context.Context, t *testing.T, c *testCluster, local bool) *sync.WaitGroup {
	var all sync.WaitGroup
	seed := rng.New(t).Uint64()
	for client := range 12 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(client)))
			for n := 0; ctx.Err() == nil; n++ {
				members := c.running()
				m := members[r.IntN(len(members))]
				o := operation{key: fmt.Sprintf("/r%d", r.IntN(6)), kind: "read", local: local}
				switch r.IntN(3) {
				case 0:
					o.kind, o.to = "set", fmt.Sprintf("%d-%d", client, n)
				case 1:
					view := m.store.View()
					if o.from = valueAt(t, view, o.key); o.from != "" {
						o.kind, o.to = "swap", fmt.Sprintf("%d-%d", client, n)
					}
				}
				h.run(t, client, m.Member, o)
			}
		})
	}
	return &all
}

// check asks porcupine.
func (h *history) check(t *testing.T) porcupine.CheckResult {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(registers.ToModel(), h.done, time.Minute)
	t.Logf("%d operations, %d with a known outcome: %s", len(h.done), h.acks.Load(), result)
	return result
}

// crash ends a member as a power cut does: what was not synced may be gone.
func (c *testCluster) crash(m *running) {
	c.t.Helper()
	c.net.isolate(m.ID(), true)
	after := c.disks[m.Name()].Crash(rand.Uint64())
	m.stop()
	<-m.Stopped()
	c.disks[m.Name()] = after
	c.forget(m)
}

func (c *testCluster) restart(name string) {
	c.t.Helper()
	m := c.launch(name, Bootstrap{})
	c.net.isolate(m.ID(), false)
	c.awaitReady(m)
}

// during runs clients while faults do their worst, lets everything recover,
// and checks what the clients saw.
func during(t *testing.T, faults func(c *testCluster)) {
	t.Helper()
	c := newTestCluster(t, 3, func(o *Options) { o.SnapshotEntries = 500 })
	h := &history{began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	clients := h.clients(ctx, t, c, false)
	faults(c)
	cancel()
	clients.Wait()
	if h.check(t) != porcupine.Ok {
		t.Error("what clients saw is not linearizable")
	}
	c.leader().set("/end", "1")
	c.agree()
}

// pass waits while the clients do their work.
func pass(d time.Duration) { <-time.After(d) }

func TestLinearizableWhenTheLeaderCrashes(t *testing.T) {
	during(t, func(c *testCluster) {
		for range 5 {
			pass(150 * time.Millisecond)
			old := c.leader()
			c.crash(old)
			pass(250 * time.Millisecond)
			c.restart(old.Name())
		}
	})
}

func TestLinearizableWithTheLeaderInAMinority(t *testing.T) {
	during(t, func(c *testCluster) {
		for range 5 {
			pass(100 * time.Millisecond)
			old := c.leader()
			c.net.isolate(old.ID(), true)
			pass(400 * time.Millisecond)
			c.net.isolate(old.ID(), false)
		}
	})
}

func TestLinearizableWhenLinksFailOneWay(t *testing.T) {
	during(t, func(c *testCluster) {
		for round := range 6 {
			pass(100 * time.Millisecond)
			leader := c.leader()
			for _, other := range c.others(leader) {
				from, to := leader.ID(), other.ID()
				if round%2 == 0 {
					from, to = to, from
				}
				c.net.cut(from, to, true)
			}
			pass(350 * time.Millisecond)
			for _, other := range c.others(leader) {
				c.net.cut(leader.ID(), other.ID(), false)
				c.net.cut(other.ID(), leader.ID(), false)
			}
		}
	})
}

func TestLinearizableInARollingRestart(t *testing.T) {
	during(t, func(c *testCluster) {
		for _, name := range []string{"m1", "m2", "m3", "m1", "m2", "m3"} {
			pass(100 * time.Millisecond)
			m := c.member(name)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			m.Retire(ctx)
			cancel()
			c.forget(m)
			m.halt()
			c.restart(name)
		}
	})
}

func TestLinearizableWhileMembersAreReplaced(t *testing.T) {
	during(t, func(c *testCluster) {
		for n := range 3 {
			m := c.join(fmt.Sprintf("n%d", n))
			eventually(t, "the new member to be a voter", func() bool {
				return m.apply.Present().Config.IsVoter(m.ID().Raft())
			})
			old := c.member(fmt.Sprintf("m%d", n+1))
			c.forget(old)
			if err := m.RemoveMember(context.Background(), old.ID()); err != nil {
				t.Errorf("remove %s: %v", old.Name(), err)
			}
			<-old.done
		}
	})
}

// The checker finds what it looks for: plain reads on a member that is cut off
// are not linearizable.
func TestLocalReadsAreNotLinearizable(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	h := &history{began: time.Now()}
	old := c.leader()
	h.run(t, 1, old.Member, operation{key: "/r", kind: "set", to: "old"})
	c.net.isolate(old.ID(), true)
	rest := c.others(old)
	eventually(t, "another leader", func() bool { return rest[0].IsLeader() || rest[1].IsLeader() })
	h.run(t, 1, rest[0].Member, operation{key: "/r", kind: "set", to: "new"})
	h.run(t, 2, old.Member, operation{key: "/r", kind: "read", local: true})
	if result := h.check(t); result != porcupine.Illegal {
		t.Errorf("a stale read is %s", result)
	}
}
