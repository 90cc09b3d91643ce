package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var elections = flag.Int("elections", 20, "how many elections are forced by killing members")

// claims is who led each term, in the words of any member.
type claims struct {
	t  *testing.T
	mu sync.Mutex // guards of
	of map[uint64]string
}

// hear takes notice of a claim that id leads the term.
func (c *claims) hear(term uint64, id, from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.of[term]; other != "" && other != id {
		c.t.Errorf("%s says that %s leads term %d, and %s did", from, id, term, other)
	}
	c.of[term] = id
}

// elected is the line that a member logs when it knows the leader of a term.
var elected = regexp.MustCompile(`elected leader ([0-9a-f]+) at term ([0-9]+)`)

// read takes the claims from what a process has logged.
func (c *claims) read(s *server) {
	for _, found := range elected.FindAllStringSubmatch(s.output.String(), -1) {
		var term uint64
		if _, err := fmt.Sscan(found[2], &term); err != nil {
			c.t.Errorf("term in %q: %v", found[0], err)
		}
		c.hear(term, found[1], "the log of "+s.name)
	}
}

// listen asks a server without end whether it leads, and which term.
func (c *claims) listen(ctx context.Context, s *server) {
	link := &http.Client{Timeout: time.Second, Transport: &http.Transport{}}
	defer link.CloseIdleConnections()
	for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; {
		if a, err := send(link, http.MethodGet, s.client+"/debug/vars", ""); err == nil {
			var vars struct {
				Raft struct {
					ID        string `json:"id"`
					Term      uint64 `json:"term"`
					RaftState string `json:"raftState"`
				} `json:"raft.status"`
			}
			if err := json.Unmarshal([]byte(a.body), &vars); err == nil && vars.Raft.RaftState == "StateLeader" {
				c.hear(vars.Raft.Term, vars.Raft.ID, s.name)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
		}
	}
}

// Leaders are killed, and voters in the middle of elections: a vote is not
// forgotten, and no term has two leaders (R21).
func TestATermHasOneLeader(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3, "--heartbeat-interval", "20", "--election-timeout", "100")
	from := rand.Uint64()
	t.Logf("the kills are drawn with seed %d", from)
	r := rand.New(rand.NewPCG(from, 0))
	heard := &claims{t: t, of: map[uint64]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var listeners sync.WaitGroup
	for _, s := range c.members {
		listeners.Go(func() { heard.listen(ctx, s) })
	}
	again := func(s *server) {
		s.kill()
		heard.read(s)
		s.launch()
	}
	for range *elections {
		leader := c.leader()
		again(leader)
		<-time.After(time.Duration(r.IntN(300)) * time.Millisecond) // into the election, or after it
		again(c.others(leader)[r.IntN(2)])
	}
	c.waitServing()
	c.leader().must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	cancel()
	listeners.Wait()
	for _, s := range c.members {
		heard.read(s)
	}
	t.Logf("%d terms had a leader", len(heard.of))
	if len(heard.of) < *elections/2 {
		t.Errorf("only %d terms were heard of in %d elections", len(heard.of), *elections)
	}
	c.agree()
}

// A leader that is removed hands over, ends, and costs the others no write (R40).
func TestTheLeaderIsRemovedUnderLoad(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	for range 2 {
		old := c.leader()
		rest := c.others(old)
		load := startLoad(t, rest)
		c.remove(old, rest[0])
		began := time.Now()
		leader := c.leader()
		if took := time.Since(began); *full && took > 2*time.Second {
			t.Errorf("another one led %v after the leader was removed", took)
		}
		if status := old.waitExit(); status != 0 || !strings.Contains(old.output.String(), "permanently removed") {
			t.Errorf("the removed leader ended with status %d", status)
		}
		if failed := load.stop(); failed > 0 {
			t.Errorf("%d writes failed", failed)
		}
		load.verify(c)
		fresh := c.add("after-" + old.name)
		c.waitVoter(fresh, leader)
	}
	c.agree()
}

// lastTerm is the highest term that the logs of processes name a leader of.
func lastTerm(t *testing.T, members ...*server) (last uint64) {
	t.Helper()
	for _, s := range members {
		for _, found := range elected.FindAllStringSubmatch(s.output.String(), -1) {
			term, err := strconv.ParseUint(found[2], 10, 64)
			if err != nil {
				t.Fatalf("term in %q: %v", found[0], err)
			}
			last = max(last, term)
		}
	}
	return last
}

// TestAllMembersStopAtOnce: the leader of two stops, and the other as soon as it leads. The leadership is handed over
// once, and both end in good order.
func TestAllMembersStopAtOnce(t *testing.T) {
	parallel(t)
	c := newCluster(t, 2, "--heartbeat-interval", "200", "--election-timeout", "2000") // a leader looks each heartbeat whether it has handed over
	leader := c.leader()
	other := c.others(leader)[0]
	before := lastTerm(t, c.members...)
	terminate := func(s *server) {
		if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatalf("signal %s: %v", s.name, err)
		}
	}
	terminate(leader)
	eventually(t, hang, "the hand-over", func() error {
		if lastTerm(t, other) == before {
			return errNoLeader
		}
		return nil
	})
	terminate(other)
	for _, s := range c.members {
		if status := s.waitExit(); status != 0 {
			t.Errorf("exit status of %s = %d, want 0", s.name, status)
		}
	}
	if after := lastTerm(t, c.members...); after > before+1 {
		t.Errorf("two members stopped, and terms rose from %d to %d\n%s", before, after, tail(leader.output.String(), 30))
	}
	for _, s := range c.members {
		s.launch()
	}
	c.waitServing()
	c.leader().must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
}
