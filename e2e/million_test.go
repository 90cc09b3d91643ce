package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"testing"
	"time"
)

// harvest is a crowd whose clients write numbers that go up, each to the keys of
// a directory of its own in turn, so that it is known what has to be there.
type harvest struct {
	t       *testing.T
	address string
	keys    int   // of a client
	wrote   []int // by each client, all of it acknowledged
}

func newHarvest(t *testing.T, s *server, keys int) *harvest {
	const clients = 64
	return &harvest{t: t, address: s.address(), keys: keys / clients, wrote: make([]int, clients)}
}

// fill writes each key once.
func (h *harvest) fill() latencies { return h.run(context.Background(), 0, h.keys) }

// during writes for a while; the clients wait for every from one request to the next.
func (h *harvest) during(ctx context.Context, length, every time.Duration) latencies {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	return h.run(ctx, every, 1<<62)
}

func (h *harvest) run(ctx context.Context, every time.Duration, most int) latencies {
	load := &crowd{address: h.address, size: len(h.wrote), every: every, request: func(client, n int) []byte {
		if n == most {
			return nil
		}
		number := h.wrote[client]
		h.wrote[client]++
		return put(fmt.Sprintf("/m/%d/%d", client, number%h.keys), strconv.Itoa(number))
	}}
	took, err := load.run(ctx)
	if err != nil {
		h.t.Error(err)
	}
	return took
}

// verify makes sure that a member has the last number of each key.
func (h *harvest) verify(s *server) {
	h.t.Helper()
	s.must(http.StatusOK, http.MethodGet, "/v2/keys/m/0/0?quorum=true", "") // it has caught up
	for client, wrote := range h.wrote {
		var answer struct {
			Node struct{ Nodes []struct{ Key, Value string } }
		}
		a := s.must(http.StatusOK, http.MethodGet, fmt.Sprintf("/v2/keys/m/%d", client), "")
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
			h.t.Fatal(err)
		}
		if len(answer.Node.Nodes) != h.keys {
			h.t.Errorf("client %d has %d keys, want %d", client, len(answer.Node.Nodes), h.keys)
		}
		for _, node := range answer.Node.Nodes {
			key, err := strconv.Atoi(path.Base(node.Key))
			last := key + (wrote-1-key)/h.keys*h.keys
			if err != nil || node.Value != strconv.Itoa(last) {
				h.t.Fatalf("%s is %s, but %d was acknowledged", node.Key, node.Value, last)
			}
		}
	}
}

// An empty member is added to a cluster with a million keys, while writes go on
// at half of the rate that is possible: it is promoted, no write is lost or takes
// longer than 50 ms, and the leader's memory grows by no more than 256 MiB, which
// is the log that it keeps for slow followers, and what garbage and the tree's
// old versions take until they are collected.
func TestAMillionKeysForANewMember(t *testing.T) {
	parallel(t)
	const grownMost, slowest = 256 << 20, 50 * time.Millisecond
	c := newCluster(t, 3)
	leader := c.leader()
	h := newHarvest(t, leader, scale(20_000, 1_000_000))
	t.Logf("filled: %v", h.fill())
	length := scale(500*time.Millisecond, 10*time.Second)
	rate := float64(len(h.during(t.Context(), length, 0))) / length.Seconds()
	every := time.Duration(float64(len(h.wrote)) / (rate / 2) * float64(time.Second))
	alone := h.during(t.Context(), length, every)
	before := leader.residentBytes()
	t.Logf("%.0f writes a second are possible; at half of it: %v; the leader has %d MiB", rate, alone, before>>20)

	ctx, cancel := context.WithCancel(t.Context())
	took := make(chan latencies, 1)
	go func() { took <- h.during(ctx, 10*time.Minute, every) }()
	resident := highest(100*time.Millisecond, leader.residentBytes)
	began := time.Now()
	added := newServer(t, "--initial-cluster-state", "existing")
	added.name = "added"
	c.register(added, leader)
	added.launch()
	c.members = append(c.members, added)
	eventually(t, 5*time.Minute, "the new member to be promoted", func() error { return isVoter(added, leader) })
	promoted := time.Since(began)
	<-time.After(length / 5)
	cancel()
	writes := <-took
	resident.stop()

	t.Logf("promoted after %v; meanwhile: %v; the leader had up to %d MiB", promoted, writes, resident.most>>20)
	h.verify(added)
	if !*full {
		return
	}
	if c.leader() != leader {
		t.Error("another member leads now")
	}
	if worst := writes.at(1); worst > slowest {
		t.Errorf("the slowest write took %v, more than %v; before, it was %v", worst, slowest, alone.at(1))
	}
	if resident.most > before+grownMost {
		t.Errorf("the leader's memory grew by %d MiB", (resident.most-before)>>20)
	}
}
