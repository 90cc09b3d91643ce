package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cluster is several processes that are members of one cluster, on loopback.
type cluster struct {
	t       *testing.T
	members []*server
	flags   []string
}

// newCluster starts a cluster, and waits until all its members serve.
func newCluster(t *testing.T, size int, flags ...string) *cluster {
	t.Helper()
	return newClusterWith(t, size, func(int, *server) {}, flags...)
}

// newClusterWith starts a cluster, whose members are changed first.
func newClusterWith(t *testing.T, size int, change func(n int, s *server), flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, flags: flags}
	var list []string
	for n := range size {
		s := newServer(t, append([]string{"--initial-cluster-token", t.Name()}, flags...)...)
		s.name = fmt.Sprintf("m%d", n+1)
		change(n, s)
		c.members = append(c.members, s)
		list = append(list, s.name+"="+s.peer)
	}
	for _, s := range c.members {
		s.cluster = strings.Join(list, ",")
		s.launch()
	}
	c.waitServing()
	return c
}

func (c *cluster) waitServing() {
	c.t.Helper()
	for _, s := range c.members {
		s.waitServing()
	}
}

// member is one line of /v2/members.
type member struct {
	ID         string
	Name       string
	PeerURLs   []string
	ClientURLs []string
	IsLearner  bool
}

// list asks a server who the members are.
func (s *server) list() ([]member, error) {
	a, err := s.do(http.MethodGet, "/v2/members", "")
	if err != nil {
		return nil, err
	}
	var answer struct{ Members []member }
	return answer.Members, json.Unmarshal([]byte(a.body), &answer)
}

// id asks the members who this one is.
func (c *cluster) id(of *server) string {
	c.t.Helper()
	for _, s := range c.members {
		list, err := s.list()
		if err != nil {
			continue
		}
		at := slices.IndexFunc(list, func(m member) bool { return slices.Equal(m.PeerURLs, []string{of.peer}) })
		if at >= 0 {
			return list[at].ID
		}
	}
	c.t.Fatalf("nobody knows a member with %s", of.peer)
	return ""
}

var errNoLeader = errors.New("no leader that the others follow")

// leader waits for a member that leads, and can serve linearizable reads.
func (c *cluster) leader() *server {
	c.t.Helper()
	var found *server
	eventually(c.t, hang, "a leader", func() error {
		for _, s := range c.members {
			self, err := send(quick, http.MethodGet, s.client+"/v2/stats/self", "")
			if err != nil || !strings.Contains(self.body, `"state":"StateLeader"`) {
				continue
			}
			health, err := send(quick, http.MethodGet, s.client+"/health", "")
			if err == nil && health.status == http.StatusOK {
				found = s
				return nil
			}
		}
		return errNoLeader
	})
	return found
}

// quick gives up on a server that is paused.
var quick = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// others are the members but one.
func (c *cluster) others(but *server) []*server {
	return slices.DeleteFunc(slices.Clone(c.members), func(s *server) bool { return s == but })
}

// add makes a new member and starts it. It returns once the member serves.
func (c *cluster) add(name string) *server {
	c.t.Helper()
	s := newServer(c.t, append([]string{"--initial-cluster-state", "existing"}, c.flags...)...)
	s.name = name
	c.register(s, c.leader())
	s.start()
	c.members = append(c.members, s)
	return s
}

// register adds s to the cluster by asking a member, and tells s what it needs
// to know to join.
func (c *cluster) register(s, door *server) {
	c.t.Helper()
	a := door.postJSON(http.MethodPost, "/v2/members", fmt.Sprintf(`{"peerURLs":[%q]}`, s.peer))
	if a.status != http.StatusCreated {
		c.t.Fatalf("add %s: %d %s", s.name, a.status, a.body)
	}
	list, err := door.list()
	if err != nil {
		c.t.Fatal(err)
	}
	var parts []string
	for n, m := range list {
		name := fmt.Sprintf("other%d", n)
		if slices.Equal(m.PeerURLs, []string{s.peer}) {
			name = s.name
		}
		for _, url := range m.PeerURLs {
			parts = append(parts, name+"="+url)
		}
	}
	s.cluster = strings.Join(parts, ",")
}

// postJSON sends a request to change the members.
func (s *server) postJSON(method, path, body string) answer {
	s.t.Helper()
	request, err := http.NewRequest(method, s.client+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	a, err := receive(s.http, request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// remove removes a member, whose process is expected to end by itself if it runs.
func (c *cluster) remove(s *server, door *server) {
	c.t.Helper()
	door.must(http.StatusNoContent, http.MethodDelete, "/v2/members/"+c.id(s), "")
	c.members = c.others(s)
}

// waitVoter waits until a member is a voter in the eyes of another.
func (c *cluster) waitVoter(s, door *server) {
	c.t.Helper()
	eventually(c.t, hang, s.name+" to be promoted", func() error { return isVoter(s, door) })
}

// isVoter is an error unless a member is a voter in the eyes of another.
func isVoter(s, door *server) error {
	list, err := door.list()
	if err != nil {
		return err
	}
	for _, m := range list {
		if slices.Equal(m.PeerURLs, []string{s.peer}) && !m.IsLearner {
			return nil
		}
	}
	return fmt.Errorf("it is a learner, or none: %+v", list)
}

// agree waits until all members have the same tree and index, and compares them.
func (c *cluster) agree() {
	c.t.Helper()
	eventually(c.t, hang, "the members to agree", func() error {
		var first answer
		for n, s := range c.members {
			a, err := s.do(http.MethodGet, "/v2/keys/?recursive=true&sorted=true", "")
			if err != nil {
				return err
			}
			if n == 0 {
				first = a
			}
			if a.body != first.body || a.header.Get("X-Etcd-Index") != first.header.Get("X-Etcd-Index") {
				return fmt.Errorf("%s has another tree than %s", s.name, c.members[0].name)
			}
		}
		return nil
	})
}

func (s *server) pause()  { s.command.Process.Signal(syscall.SIGSTOP) }
func (s *server) resume() { s.command.Process.Signal(syscall.SIGCONT) }

// Any member takes writes, and what it acknowledged is read from any other.
func TestThreeMembersActAsOne(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	for round := range 5 {
		for _, s := range c.members {
			value := fmt.Sprintf("%s-%d", s.name, round)
			s.must(statusOf(round), http.MethodPut, "/v2/keys/"+s.name, "value="+value)
			for _, other := range c.members {
				if a := other.must(http.StatusOK, http.MethodGet, "/v2/keys/"+s.name+"?quorum=true", ""); !strings.Contains(a.body, `"`+value+`"`) {
					t.Errorf("%s read %s from %s", value, a.body, other.name)
				}
			}
		}
	}
	c.agree()
	ids := map[string]bool{}
	for _, s := range c.members {
		a := s.must(http.StatusOK, http.MethodGet, "/v2/members/leader", "")
		ids[a.body] = true
	}
	if len(ids) != 1 {
		t.Errorf("the members name different leaders: %v", ids)
	}
}

func statusOf(round int) int {
	if round == 0 {
		return http.StatusCreated
	}
	return http.StatusOK
}

// The leader is killed: another one takes over, and nothing is lost.
func TestALeaderIsKilled(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	for n := range 50 {
		c.members[n%3].must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/k%d", n), "value=1")
	}
	old := c.leader()
	old.kill()
	began := time.Now()
	rest := c.others(old)
	eventually(t, hang, "a write to succeed", func() error {
		a, err := send(quick, http.MethodPut, rest[0].client+"/v2/keys/after", "value=1")
		if err == nil && a.status > 201 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	t.Logf("writes flowed again %v after the leader was killed", time.Since(began))
	old.start()
	c.agree()
	for n := range 50 {
		old.must(http.StatusOK, http.MethodGet, fmt.Sprintf("/v2/keys/k%d?quorum=true", n), "")
	}
}

// A leader that is paused while another one takes over never answers a
// linearizable read with what was (R22).
func TestAPausedLeaderReadsNothingStale(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	for round := range 3 {
		old := c.leader()
		old.must(statusOf(round), http.MethodPut, "/v2/keys/k", fmt.Sprintf("value=old-%d", round))
		old.pause()
		rest := c.others(old)
		eventually(t, hang, "a write to succeed", func() error {
			a, err := send(quick, http.MethodPut, rest[0].client+"/v2/keys/k", fmt.Sprintf("value=new-%d", round))
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
		answers := make(chan string, 8)
		for range cap(answers) {
			go func() {
				a, err := send(http.DefaultClient, http.MethodGet, old.client+"/v2/keys/k?quorum=true", "")
				if err != nil {
					a.body = err.Error()
				}
				answers <- a.body
			}()
		}
		old.resume()
		for range cap(answers) {
			if body := <-answers; strings.Contains(body, "old-") {
				t.Errorf("a linearizable read gave %s", body)
			}
		}
	}
}

// Three members become five and three again, and then all are replaced one by
// one, while a writer goes on: it never fails, and nothing is lost.
func TestReconfigurationUnderLoad(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	load := startLoad(t, c.members[:1])
	for n := range 2 {
		s := c.add(fmt.Sprintf("n%d", n+1))
		c.waitVoter(s, c.leader())
	}
	load.use(c.members)
	for len(c.members) > 3 {
		victim := c.members[1]
		load.use(c.others(victim))
		c.remove(victim, c.others(victim)[0])
		if status := victim.waitExit(); status != 0 {
			t.Errorf("%s ended with status %d after its removal", victim.name, status)
		}
	}
	for n := range 3 {
		s := c.add(fmt.Sprintf("r%d", n+1))
		c.waitVoter(s, c.leader())
		victim := c.members[0]
		load.use(c.others(victim))
		c.remove(victim, c.others(victim)[0])
		victim.waitExit()
	}
	load.stop()
	load.verify(c)
	c.agree()
}
