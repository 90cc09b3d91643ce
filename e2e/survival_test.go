package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

var pairs = flag.Int("pairs", 2, "how many pairs of five members are killed, up to 10")

// Members are restarted one by one while clients write: nothing that was
// acknowledged is lost, and only requests in flight on the member that goes
// down may fail (F38, M46).
func TestRollingRestartUnderLoad(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	load := startLoad(t, c.members)
	restarts := 0
	for range 2 {
		for _, s := range c.members {
			if status := s.signal(syscall.SIGTERM); status != 0 {
				t.Errorf("%s ended with status %d", s.name, status)
			}
			restarts++
			load.use(c.others(s))
			s.start()
			load.use(c.members)
		}
	}
	failed := load.stop()
	load.verify(c)
	c.agree()
	if most := restarts * 2 * loadWriters; failed > most { // a request in flight, and one to a port that is closed
		t.Errorf("%d requests failed in %d restarts, want at most %d", failed, restarts, most)
	}
}

// Five members survive the loss of any two.
func TestFiveMembersLoseTwo(t *testing.T) {
	parallel(t)
	c := newCluster(t, 5)
	seed := rand.Uint64()
	t.Logf("pairs are drawn with seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range *pairs {
		lost := r.Perm(5)[:2]
		for _, n := range lost {
			c.members[n].kill()
		}
		left := c.others(c.members[lost[0]])
		door := left[0]
		if door == c.members[lost[1]] {
			door = left[1]
		}
		eventually(t, hang, "a write to succeed", func() error {
			a, err := send(quick, http.MethodPut, door.client+"/v2/keys/k", fmt.Sprintf("value=%d", round))
			if err == nil && a.status > http.StatusCreated {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
		for _, n := range lost {
			c.members[n].start()
		}
		c.agree()
	}
}

// A member whose directory is wiped does not start as its former self (R34),
// and comes back as a new one if it is told to.
func TestAWipedMember(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	victim := c.others(c.leader())[0]
	was := c.id(victim)
	victim.kill()
	wipe(t, victim)
	victim.launch()
	if status := victim.waitExit(); status != 1 || !strings.Contains(victim.output.String(), "member "+was+" has already been bootstrapped") {
		t.Errorf("a wiped member started as new ended with %d:\n%s", status, tail(victim.output.String(), 3))
	}
	usual := victim.flags
	victim.flags = append([]string{"--initial-cluster-state", "existing"}, usual...)
	victim.launch()
	if status := victim.waitExit(); status != 1 || !strings.Contains(victim.output.String(), "member "+was+" has run before and its data is gone") {
		t.Errorf("a wiped member started as existing ended with %d:\n%s", status, tail(victim.output.String(), 3))
	}
	victim.flags = append(victim.flags, "--rejoin")
	victim.start()
	if now := c.id(victim); now == was {
		t.Errorf("it came back under its old id %s", now)
	}
	c.waitVoter(victim, c.leader())
	victim.must(http.StatusOK, http.MethodGet, "/v2/keys/k?quorum=true", "")
	c.agree()
}

// Two wiped members that begin the cluster anew, while the third is down, do
// not make it drop its data: it has nothing to do with them (R35).
func TestAnIntactMemberIsNotOverruled(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	intact := c.members[2]
	intact.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=precious")
	for range 3 { // with these it learns, on its disk, that the first is committed
		intact.must(http.StatusCreated, http.MethodPost, "/v2/keys/more", "value=1")
	}
	c.agree()
	for _, s := range c.members {
		s.kill()
	}
	for _, s := range c.members[:2] {
		wipe(t, s)
		s.launch()
	}
	for _, s := range c.members[:2] {
		s.waitServing()
	}
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/other", "value=1")
	intact.launch()
	eventually(t, hang, "the intact member to refuse the others", func() error {
		if !strings.Contains(intact.output.String(), "other incarnation") {
			return fmt.Errorf("it says nothing of that")
		}
		return nil
	})
	a := intact.must(http.StatusOK, http.MethodGet, "/v2/keys/k", "")
	if !strings.Contains(a.body, "precious") {
		t.Errorf("it answers %s", a.body)
	}
	intact.must(http.StatusNotFound, http.MethodGet, "/v2/keys/other", "")
	c.members[0].must(http.StatusNotFound, http.MethodGet, "/v2/keys/k", "")
}

func wipe(t *testing.T, s *server) {
	t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
}

// A member that is removed and added again, with the same name and URLs and an
// empty directory, joins each time, under load (R37).
func TestRemovedAndAddedAgain(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	victim := c.others(c.leader())[0]
	load := startLoad(t, c.others(victim))
	for round := range 4 {
		door := c.others(victim)[0]
		door.must(http.StatusNoContent, http.MethodDelete, "/v2/members/"+c.id(victim), "")
		if status := victim.waitExit(); status != 0 || !strings.Contains(victim.output.String(), "permanently removed") {
			t.Errorf("round %d: it ended with status %d", round, status)
		}
		wipe(t, victim)
		c.register(victim, door)
		if round == 0 {
			victim.flags = append(victim.flags, "--initial-cluster-state", "existing")
		}
		victim.start()
		c.waitVoter(victim, door)
	}
	if failed := load.stop(); failed > 0 {
		t.Errorf("%d writes failed", failed)
	}
	load.verify(c)
	c.agree()
}

// A member that is paused while it is removed among other changes ends when it
// goes on (R38).
func TestAPausedMemberIsRemoved(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	victim := c.others(c.leader())[0]
	id := c.id(victim)
	victim.pause()
	door := c.leader()
	for n := range 2 {
		a := door.postJSON(http.MethodPost, "/v2/members", fmt.Sprintf(`{"peerURLs":["http://127.0.0.1:%d"]}`, n+1))
		if a.status != http.StatusCreated {
			t.Fatalf("add: %d %s", a.status, a.body)
		}
	}
	door.must(http.StatusNoContent, http.MethodDelete, "/v2/members/"+id, "")
	door.must(http.StatusGone, http.MethodDelete, "/v2/members/"+id, "")
	door.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	victim.resume()
	if status := victim.waitExit(); status != 0 || !strings.Contains(victim.output.String(), "permanently removed") {
		t.Errorf("it ended with status %d", status)
	}
	victim.launch()
	if status := victim.waitExit(); status != 0 {
		t.Errorf("started again it ended with status %d", status)
	}
}

// Two clusters whose members know each other's addresses refuse each other, and
// say so (R41).
func TestTwoClustersDoNotMix(t *testing.T) {
	parallel(t)
	a, b := newServer(t), newServer(t, "--initial-cluster-token", "another")
	a.start().must(http.StatusCreated, http.MethodPut, "/v2/keys/a", "value=1")
	b.start().must(http.StatusCreated, http.MethodPut, "/v2/keys/b", "value=1")
	if answer := a.postJSON(http.MethodPost, "/v2/members", fmt.Sprintf(`{"peerURLs":[%q]}`, b.peer)); answer.status != http.StatusCreated {
		t.Fatalf("add: %d %s", answer.status, answer.body)
	}
	for _, s := range []*server{a, b} {
		eventually(t, hang, "a refusal in the log", func() error {
			if !strings.Contains(s.output.String(), "other cluster") {
				return fmt.Errorf("there is none")
			}
			return nil
		})
	}
	a.must(http.StatusNotFound, http.MethodGet, "/v2/keys/b", "")
	b.must(http.StatusNotFound, http.MethodGet, "/v2/keys/a", "")
	a.must(http.StatusCreated, http.MethodPut, "/v2/keys/after", "value=1")
	b.must(http.StatusCreated, http.MethodPut, "/v2/keys/after", "value=1")
}

// Whatever is sent to change the members, three members stay alive (R39).
func TestBadMembershipRequests(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	id := c.id(c.members[1])
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"peerURLs":null}`, `{"peerURLs":[""]}`, `{"peerURLs":["x"]}`, `{"peerURLs":["ftp://h:1"]}`, `{"peerURLs":["http://"]}`,
		`{"peerURLs":["http://h"]}`, `{"peerURLs":["http://h:1/x"]}`, `{"peerURLs":["unix://h:1"]}`, `{"peerURLs":["http://h:99999999"]}`, `{"peerURLs":["http://[::1"]}`,
		`{"peerURLs":["http://` + strings.Repeat("h", 40_000) + `:1"]}`, `{"peerURLs":"http://h:1"}`, "{\"peerURLs\":[\"http://h\x00:1\"]}",
	} {
		for _, target := range []struct{ method, path string }{{http.MethodPost, "/v2/members"}, {http.MethodPut, "/v2/members/" + id}} {
			if a := c.members[0].postJSON(target.method, target.path, body); a.status < 400 || a.status >= 500 {
				t.Errorf("%s %.60s = %d %s", target.method, body, a.status, a.body)
			}
		}
	}
	for _, s := range c.members {
		s.must(http.StatusOK, http.MethodGet, "/health", "")
	}
	if list, err := c.members[0].list(); err != nil || len(list) != 3 {
		t.Errorf("%d members, %v", len(list), err)
	}
}

// A follower that is paused again and again under load catches up each time (R25).
func TestAPausedFollowerCatchesUp(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	paused := c.others(c.leader())[0]
	load := startLoad(t, c.others(paused))
	for range 4 {
		paused.pause()
		<-time.After(time.Second)
		paused.resume()
		began := time.Now()
		eventually(t, hang, "it to catch up", func() error {
			behind, err := send(quick, http.MethodGet, paused.client+"/v2/keys/load", "")
			if err != nil {
				return err
			}
			ahead, err := send(quick, http.MethodGet, c.leader().client+"/v2/keys/load", "")
			if err != nil {
				return err
			}
			var here, there int
			if _, err := fmt.Sscan(behind.header.Get("X-Raft-Index"), &here); err != nil {
				return err
			}
			if _, err := fmt.Sscan(ahead.header.Get("X-Raft-Index"), &there); err != nil {
				return err
			}
			if there-here > 500 {
				return fmt.Errorf("it is %d entries behind", there-here)
			}
			return nil
		})
		t.Logf("caught up after %v", time.Since(began))
	}
	if failed := load.stop(); failed > 0 {
		t.Errorf("%d writes failed", failed)
	}
	c.agree()
}
