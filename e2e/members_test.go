package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Members that were added and are not there, or never will be, hold up nothing:
// writes go on, and each addition can be taken back (R36).
func TestDeadMembersHoldUpNothing(t *testing.T) {
	parallel(t)
	for _, tt := range []struct{ alive, dead int }{{1, 1}, {1, 3}, {3, 3}} {
		t.Run(fmt.Sprintf("%d and %d", tt.alive, tt.dead), func(t *testing.T) {
			c := newCluster(t, tt.alive)
			load := startLoad(t, c.members)
			door := c.members[0]
			var dead []*server
			for range tt.dead {
				s := newServer(t) // never started
				c.register(s, door)
				dead = append(dead, s)
			}
			pass(500 * time.Millisecond)
			door.must(http.StatusOK, http.MethodGet, "/health", "")
			for _, s := range dead {
				door.must(http.StatusNoContent, http.MethodDelete, "/v2/members/"+c.id(s), "")
			}
			if list, err := door.list(); err != nil || len(list) != tt.alive {
				t.Errorf("%d members are left, %v", len(list), err)
			}
			if failed := load.stop(); failed > 0 {
				t.Errorf("%d writes failed", failed)
			}
			load.verify(c)
		})
	}
}

// A member that is down is told its new peer URLs to be by the others, and found
// there when it comes back with its data (M22, M38).
func TestAMemberMoves(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	moving := c.others(c.leader())[0]
	id := c.id(moving)
	moving.kill()
	door := c.others(moving)[0]
	moving.peer = freeURL(t)
	if a := door.postJSON(http.MethodPut, "/v2/members/"+id, fmt.Sprintf(`{"peerURLs":[%q]}`, moving.peer)); a.status != http.StatusNoContent {
		t.Fatalf("new URLs: %d %s", a.status, a.body)
	}
	door.must(http.StatusCreated, http.MethodPut, "/v2/keys/meanwhile", "value=1")
	moving.start()
	if now := c.id(moving); now != id {
		t.Errorf("its id was %s and is %s", id, now)
	}
	c.agree()
}

// A member is away while another is added that leads when it comes back: it
// follows a leader that its log does not know.
func TestALeaderThatIsUnknownIsFollowed(t *testing.T) {
	parallel(t)
	c := newCluster(t, 5)
	away := c.others(c.leader())[0]
	away.kill()
	c.members = c.others(away)
	added := c.add("m6")
	c.waitVoter(added, c.members[0])
	for leader := c.leader(); leader != added; leader = c.leader() {
		leader.kill() // whoever wakes first is the next one; an orderly stop could hand over to and fro between two others
		leader.start()
	}
	added.must(http.StatusCreated, http.MethodPut, "/v2/keys/after", "value=1")
	away.start()
	c.members = append(c.members, away)
	c.agree()
}

// The disk of a follower is full: the others go on. The disk of the leader is
// full: it hands over to another one.
func TestTheDiskOfAMemberIsFull(t *testing.T) {
	parallel(t)
	onSmallDisk := func(_ int, s *server) { s.dir = filepath.Join(smallDisk(t, 24<<20), "data") }
	c := newClusterWith(t, 3, onSmallDisk, "--wal-segment-bytes", "1MiB", "--max-wals", "2", "--snapshot-count", "100000000")
	leader := c.leader()
	full := c.others(leader)[0]
	ballast := fillDisk(t, full)
	for n := range 100 {
		leader.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/a%d", n), "value="+strings.Repeat("x", 32<<10))
	}
	remove(t, ballast)
	eventually(t, hang, "the follower to catch up", func() error {
		a, err := full.do(http.MethodGet, "/v2/keys/a99", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d", a.status)
		}
		return err
	})
	ballast = fillDisk(t, leader)
	eventually(t, hang, "a write to be refused", func() error {
		a, err := leader.do(http.MethodPost, "/v2/keys/b", "value="+strings.Repeat("x", 32<<10))
		if err == nil && a.status != http.StatusInsufficientStorage {
			err = fmt.Errorf("%d %.200s", a.status, a.body)
		}
		return err
	})
	leader.must(http.StatusOK, http.MethodGet, "/v2/keys/a1?quorum=true", "")
	eventually(t, hang, "another leader", func() error {
		if c.leader() == leader {
			return errors.New("it is the one whose disk is full")
		}
		return nil
	})
	eventually(t, hang, "a write to succeed", func() error {
		a, err := c.others(leader)[0].do(http.MethodPut, "/v2/keys/again", "value="+strings.Repeat("x", 32<<10))
		if err == nil && a.status > http.StatusCreated {
			err = fmt.Errorf("%d %.200s", a.status, a.body)
		}
		return err
	})
	remove(t, ballast)
	c.agree()
}

// fillDisk takes all the room that is left where a server keeps its data.
func fillDisk(t *testing.T, s *server) (ballast string) {
	t.Helper()
	ballast = filepath.Join(filepath.Dir(s.dir), "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	return ballast
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// TestARemovedMemberHasNoSeries: what measured a member is gone from /metrics of the others with the member, also
// after a restart: a gauge that stays at 0 raises an alarm for ever.
func TestARemovedMemberHasNoSeries(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	leader := c.leader()
	victim := c.others(leader)[0]
	id := c.id(victim)
	measures := func(s *server) error {
		for line := range strings.Lines(s.must(http.StatusOK, http.MethodGet, "/metrics", "").body) {
			if strings.Contains(line, `"`+id+`"`) {
				return fmt.Errorf("%s has %s", s.name, line)
			}
		}
		return nil
	}
	for _, s := range c.others(victim) {
		if measures(s) == nil {
			t.Errorf("%s measures nothing of a member", s.name)
		}
	}
	c.remove(victim, leader)
	for _, s := range c.members {
		eventually(t, hang, "the series to be gone", func() error { return measures(s) })
	}
	victim.waitExit()
	again := c.others(leader)[0]
	if status := again.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status = %d, want 0", status)
	}
	again.launch()
	again.waitServing()
	for _, s := range c.members {
		if err := measures(s); err != nil {
			t.Errorf("later: %v", err)
		}
	}
}

// TestALearnerIsPromotedByHand: with --auto-promote=false at the leader a new member stays a learner until any member is
// asked to promote it. The new member says that its own flag decides nothing.
func TestALearnerIsPromotedByHand(t *testing.T) {
	parallel(t)
	c := newCluster(t, 1, "--auto-promote=false")
	door := c.members[0]
	learner := c.add("m2")
	if told := "--auto-promote=false has no effect on this member"; !strings.Contains(learner.output.String(), told) {
		t.Errorf("the new member does not say %q\n%s", told, tail(learner.output.String(), 20))
	}
	if strings.Contains(door.output.String(), "has no effect") {
		t.Error("a member that may lead is told that its flag has no effect")
	}
	learner.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	if isVoter(learner, door) == nil {
		t.Error("the new member is a voter already")
	}
	promote := "/v2/members/" + c.id(learner) + "/promote"
	learner.must(http.StatusNoContent, http.MethodPost, promote, "")
	c.waitVoter(learner, door)
	door.must(http.StatusConflict, http.MethodPost, promote, "")
}

// A member that is asked to remove itself answers before it leaves, over both versions of HTTP, whether it leads or not.
func TestAMemberThatRemovesItselfAnswers(t *testing.T) {
	parallel(t)
	c := newCluster(t, 5)
	for version, protocol := range map[int]func(*http.Protocols){
		1: func(p *http.Protocols) { p.SetHTTP1(true) },
		2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		for _, leads := range []bool{true, false} {
			leaver := c.leader()
			if !leads {
				leaver = c.others(leaver)[0]
			}
			transport := &http.Transport{Protocols: new(http.Protocols)}
			protocol(transport.Protocols)
			request, err := http.NewRequest(http.MethodDelete, leaver.client+"/v2/members/"+c.id(leaver), nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&http.Client{Transport: transport, Timeout: hang}).Do(request)
			if err != nil {
				t.Fatalf("HTTP/%d, leader %v: %v", version, leads, err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusNoContent || response.ProtoMajor != version {
				t.Errorf("HTTP/%d, leader %v: %s %s", version, leads, response.Proto, response.Status)
			}
			leaver.waitExit()
			transport.CloseIdleConnections()
			c.members = c.others(leaver)
		}
	}
}
