package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// hosts are network namespaces on one bridge, each a host of its own. Clients
// of a test are on the bridge. Delay and loss would need netem, which not every
// kernel has; what is cut here is cut whole.
type hosts struct {
	t      *testing.T
	name   string // of the bridge; the others begin with it
	subnet string // 10.x.y
}

// networks numbers the networks of the tests; each process begins somewhere else.
var networks = func() *atomic.Uint32 {
	var next atomic.Uint32
	next.Store(rand.Uint32N(1 << 16))
	return &next
}()

// newHosts makes n namespaces, and removes them after the test. It skips the
// test where they cannot be made.
func newHosts(t *testing.T, n int) *hosts {
	t.Helper()
	number := networks.Add(1)
	h := &hosts{t: t, name: fmt.Sprintf("cp%04x", number%(1<<16)), subnet: fmt.Sprintf("10.%d.%d", 64+number>>8%64, number%256)}
	if out, err := exec.Command("ip", "link", "add", h.name, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		for host := range n {
			h.try("link", "del", h.port(host)) // a dying connection may keep its namespace for a while
			h.try("netns", "del", h.namespace(host))
		}
		h.try("link", "del", h.name)
	})
	h.ip("addr", "add", h.subnet+".254/24", "dev", h.name)
	h.ip("link", "set", h.name, "up")
	for host := range n {
		ns := h.namespace(host)
		h.ip("netns", "add", ns)
		h.ip("link", "add", h.port(host), "type", "veth", "peer", "name", "eth0", "netns", ns)
		h.ip("link", "set", h.port(host), "master", h.name, "up")
		h.ip("-n", ns, "addr", "add", h.address(host)+"/24", "dev", "eth0")
		h.ip("-n", ns, "link", "set", "eth0", "up")
		h.ip("-n", ns, "link", "set", "lo", "up")
	}
	return h
}

func (h *hosts) namespace(host int) string { return fmt.Sprintf("%sn%d", h.name, host) }
func (h *hosts) port(host int) string      { return fmt.Sprintf("%sv%d", h.name, host) }
func (h *hosts) address(host int) string   { return fmt.Sprintf("%s.%d", h.subnet, host+1) }

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// try is for cleaning up: what is not there need not be removed.
func (h *hosts) try(args ...string) {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Logf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cut takes a host off the network, silently: no connection is reset.
func (h *hosts) cut(host int)  { h.ip("link", "set", h.port(host), "down") }
func (h *hosts) heal(host int) { h.ip("link", "set", h.port(host), "up") }

// mute lets a host send nothing to another one. What that one sends arrives.
func (h *hosts) mute(from, to int) {
	h.ip("-n", h.namespace(from), "route", "add", "blackhole", h.address(to)+"/32")
}

func (h *hosts) unmute(from, to int) {
	h.ip("-n", h.namespace(from), "route", "del", "blackhole", h.address(to)+"/32")
}

// newClusterOn starts a cluster with a member on each host.
func newClusterOn(t *testing.T, size int, flags ...string) (*cluster, *hosts) {
	t.Helper()
	h := newHosts(t, size)
	inNamespace := func(n int, s *server) {
		s.client, s.peer = "http://"+h.address(n)+":2379", "http://"+h.address(n)+":2380"
		s.wrap = []string{"ip", "netns", "exec", h.namespace(n)}
	}
	c := newClusterWith(t, size, inNamespace, flags...)
	return c, h
}

func (c *cluster) at(s *server) int { return slices.Index(c.members, s) }

// term asks a member for its raft term.
func (s *server) term() (uint64, error) {
	a, err := send(quick, http.MethodGet, s.client+"/debug/vars", "")
	if err != nil {
		return 0, err
	}
	var vars struct {
		Raft struct {
			Term uint64 `json:"term"`
		} `json:"raft.status"`
	}
	return vars.Raft.Term, json.Unmarshal([]byte(a.body), &vars)
}

// A follower that is cut off comes back without disturbing anybody: the term is
// the same, and no write failed meanwhile (R29).
func TestAReturningMemberDisturbsNobody(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3, "--election-timeout", "3s") // a busy machine causes no election
	leader := c.leader()
	away := c.others(leader)[0]
	before, err := leader.term()
	if err != nil {
		t.Fatal(err)
	}
	load := startLoad(t, c.others(away))
	h.cut(c.at(away))
	<-time.After(7 * time.Second) // more than two election time-outs
	h.heal(c.at(away))
	eventually(t, hang, "the member to be back", func() error {
		a, err := send(quick, http.MethodGet, away.client+"/health", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("health: %d", a.status)
		}
		return err
	})
	if failed := load.stop(); failed > 0 {
		t.Errorf("%d writes failed", failed)
	}
	if after, err := leader.term(); err != nil || after != before || c.leader() != leader {
		t.Errorf("the term was %d and is %d, %v", before, after, err)
	}
	load.verify(c)
	c.agree()
}

// A leader that is cut off with a minority, or that others hear no more, is
// replaced; nothing that was acknowledged is lost, and when it is back it
// follows.
func TestALeaderIsCutOff(t *testing.T) {
	parallel(t)
	for _, tt := range []struct {
		name      string
		cut, heal func(h *hosts, leader int, others []int)
	}{
		{"both ways", func(h *hosts, leader int, _ []int) { h.cut(leader) }, func(h *hosts, leader int, _ []int) { h.heal(leader) }},
		{"it is not heard", func(h *hosts, leader int, others []int) {
			for _, other := range others {
				h.mute(leader, other)
			}
		}, func(h *hosts, leader int, others []int) {
			for _, other := range others {
				h.unmute(leader, other)
			}
		}},
		{"it does not hear", func(h *hosts, leader int, others []int) {
			for _, other := range others {
				h.mute(other, leader)
			}
		}, func(h *hosts, leader int, others []int) {
			for _, other := range others {
				h.unmute(other, leader)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, h := newClusterOn(t, 3)
			leader := c.leader()
			rest := c.others(leader)
			var others []int
			for _, s := range rest {
				others = append(others, c.at(s))
			}
			load := startLoad(t, rest)
			tt.cut(h, c.at(leader), others)
			began := time.Now()
			eventually(t, hang, "another leader", func() error {
				for _, s := range rest {
					a, err := send(quick, http.MethodGet, s.client+"/v2/stats/self", "")
					if err == nil && strings.Contains(a.body, `"state":"StateLeader"`) {
						return nil
					}
				}
				return errNoLeader
			})
			t.Logf("another leader after %v", time.Since(began))
			rest[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/meanwhile", "value=1")
			tt.heal(h, c.at(leader), others)
			load.stop()
			load.verify(&cluster{t: t, members: rest})
			c.agree()
		})
	}
}

// One of five hosts vanishes without a word: the others are as fast as before (R32).
func TestABlackHoledMemberSlowsNobody(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 5)
	leader := c.leader()
	gone := c.others(leader)[0]
	leader.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	before := slowWrite(leader)
	h.cut(c.at(gone))
	<-time.After(2 * time.Second) // the leader has noticed
	after := slowWrite(leader)
	t.Logf("the 99th percentile of writes was %v and is %v", before, after)
	if *full && after > 2*before+10*time.Millisecond {
		t.Errorf("the 99th percentile of writes was %v, and is %v", before, after)
	}
}

// slowWrite is the time that one of a hundred writes takes, or longer.
func slowWrite(s *server) time.Duration {
	s.t.Helper()
	var took []time.Duration
	for range 1000 {
		began := time.Now()
		s.must(http.StatusOK, http.MethodPut, "/v2/keys/k", "value=1")
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}
