package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// leastKnown is how many operations of each run have to have a known outcome,
// for the run to mean anything.
const leastKnown = 2000

// during has clients read, set and swap while faults do their worst, lets
// everything recover, reads all keys from every member, and has the whole
// history checked: what was acknowledged is there, and was seen in one order.
func during(t *testing.T, c *cluster, faults func(use func([]*server))) {
	t.Helper()
	h := newHistory(c)
	var targets atomic.Pointer[[]*server]
	use := func(members []*server) {
		members = slices.Clone(members)
		targets.Store(&members)
	}
	use(c.members)
	ctx, cancel := context.WithCancel(context.Background())
	clients := h.run(ctx, &targets)
	for range *rounds {
		faults(use)
	}
	for h.known.Load() < leastKnown && !t.Failed() {
		pass(100 * time.Millisecond)
	}
	cancel()
	clients.Wait()
	c.leader()
	for client, s := range c.members {
		for n := range historyKeys {
			a := act{kind: "read", key: fmt.Sprintf("%s%d", h.keys, n)}
			if a = h.note(historyClients+client, http.DefaultClient, s, a); a.outcome != applied {
				t.Errorf("%s does not read %s in the end", s.name, a.key)
			}
		}
	}
	if h.check() != porcupine.Ok {
		t.Error("what the clients saw is not linearizable")
	}
	c.agree()
}

// pass lets the clients do their work.
func pass(d time.Duration) { <-time.After(d) }

// outage is long enough for another leader to be elected and to work.
const outage = 2500 * time.Millisecond

func TestLinearizableWhenTheLeaderIsKilled(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	during(t, c, func(func([]*server)) {
		for range 2 {
			pass(500 * time.Millisecond)
			old := c.leader()
			old.kill()
			pass(outage)
			old.start()
		}
	})
}

func TestLinearizableWhenTheLeaderIsPaused(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	during(t, c, func(func([]*server)) {
		for range 2 {
			pass(500 * time.Millisecond)
			old := c.leader()
			old.pause()
			pass(outage)
			old.resume()
		}
	})
}

// The leader is in a minority, and clients go on to ask it.
func TestLinearizableWithTheLeaderInAMinority(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3)
	during(t, c, func(func([]*server)) {
		for range 2 {
			pass(500 * time.Millisecond)
			old := c.leader()
			for _, other := range c.others(old) {
				h.mute(c.at(old), c.at(other))
				h.mute(c.at(other), c.at(old))
			}
			pass(outage)
			for _, other := range c.others(old) {
				h.unmute(c.at(old), c.at(other))
				h.unmute(c.at(other), c.at(old))
			}
		}
	})
}

// Links carry one direction only: first nobody hears the leader, then the leader
// hears nobody, and then it and one follower do not hear each other.
func TestLinearizableWhenLinksFailOneWay(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3)
	during(t, c, func(func([]*server)) {
		for round := range 3 {
			pass(500 * time.Millisecond)
			leader := c.leader()
			pairs := [][2]int{}
			for _, other := range c.others(leader) {
				pairs = append(pairs, [2]int{c.at(leader), c.at(other)})
			}
			switch round {
			case 1:
				pairs = [][2]int{{pairs[0][1], pairs[0][0]}, {pairs[1][1], pairs[1][0]}}
			case 2:
				pairs[1] = [2]int{pairs[0][1], pairs[0][0]}
			}
			for _, pair := range pairs {
				h.mute(pair[0], pair[1])
			}
			pass(outage)
			for _, pair := range pairs {
				h.unmute(pair[0], pair[1])
			}
		}
	})
}

// All links are slow, and fall silent for a moment again and again, one after
// the other, in one direction; where the kernel can, they delay and lose packets.
func TestLinearizableOverABadNetwork(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3)
	for host := range 3 {
		if !h.disturb(host) {
			h.throttle(host, "2mbit")
		}
	}
	from := rand.Uint64()
	t.Logf("the links are drawn with seed %d", from)
	r := rand.New(rand.NewPCG(from, 0))
	during(t, c, func(func([]*server)) {
		for range 12 {
			pair := r.Perm(3)
			h.mute(pair[0], pair[1])
			pass(time.Duration(100+r.IntN(500)) * time.Millisecond)
			h.unmute(pair[0], pair[1])
			pass(time.Duration(r.IntN(200)) * time.Millisecond)
		}
	})
}

func TestLinearizableInARollingRestart(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	during(t, c, func(use func([]*server)) {
		for range 2 {
			for _, s := range c.members {
				pass(300 * time.Millisecond)
				s.signal(syscall.SIGTERM)
				use(c.others(s))
				s.start()
				use(c.members)
			}
		}
	})
}

func TestLinearizableWhileMembersAreReplaced(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	replaced := 0
	during(t, c, func(use func([]*server)) {
		for range 3 {
			pass(300 * time.Millisecond)
			replaced++
			fresh := c.add(fmt.Sprintf("r%d", replaced))
			c.waitVoter(fresh, c.leader())
			old := c.members[0]
			use(c.others(old))
			c.remove(old, fresh)
			if status := old.waitExit(); status != 0 {
				t.Errorf("%s ended with status %d after its removal", old.name, status)
			}
		}
	})
}

// The checker finds what it looks for: plain reads from a leader that was
// paused while another one took over are not linearizable.
func TestLocalReadsAreNotLinearizable(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	for range 10 {
		h := newHistory(c)
		h.local = true
		old := c.leader()
		key := h.keys + "0"
		h.note(0, quick, old, act{kind: "set", key: key, to: "old"})
		old.pause()
		rest := c.others(old)
		eventually(t, hang, "another leader", func() error {
			_, err := send(quick, http.MethodGet, rest[0].client+key+"?quorum=true", "")
			if err == nil && h.note(1, quick, rest[0], act{kind: "set", key: key, to: "new"}).outcome != applied {
				err = errNoLeader
			}
			return err
		})
		answers := make(chan act, 8)
		for client := range cap(answers) {
			go func() { answers <- h.note(2+client, http.DefaultClient, old, act{kind: "read", key: key}) }()
		}
		old.resume()
		for range cap(answers) {
			<-answers
		}
		if h.check() == porcupine.Illegal {
			return
		}
	}
	t.Error("ten times, plain reads from a leader that was paused were not stale: the checker may be blind")
}
