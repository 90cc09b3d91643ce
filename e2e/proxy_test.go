package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// newProxy is a process that is to be a proxy to a cluster, found by the peer
// URL of one member.
func newProxy(t *testing.T, door *server, flags ...string) *server {
	t.Helper()
	s := newServer(t, append([]string{"--proxy", "on"}, flags...)...)
	s.name = "proxy"
	s.cluster = "any=" + door.peer
	return s
}

// startProxy runs a proxy, and waits until it knows so many members that are well.
func startProxy(t *testing.T, c *cluster, flags ...string) *server {
	t.Helper()
	p := newProxy(t, c.members[0], flags...)
	p.launch()
	p.awaitEndpoints(len(c.members))
	return p
}

func (s *server) awaitEndpoints(n int) {
	s.t.Helper()
	eventually(s.t, hang, fmt.Sprintf("%d endpoints", n), func() error {
		a, err := s.do(http.MethodGet, "/v2/config/local/proxy", "")
		if err != nil {
			return err
		}
		if well, _, _ := strings.Cut(a.body, "]"); strings.Count(well, "://") != n {
			return fmt.Errorf("there are %s", a.body)
		}
		return nil
	})
}

// rolling stops and starts members one by one, while a proxy stands in front of them.
func (c *cluster) rolling(p *server, rounds int) {
	c.t.Helper()
	for range rounds {
		for _, s := range c.members {
			if status := s.signal(syscall.SIGTERM); status != 0 {
				c.t.Errorf("%s ended with status %d", s.name, status)
			}
			s.start()
			p.awaitEndpoints(len(c.members))
		}
	}
}

// The recorded suite does not notice a proxy in front of three members, and not
// that they are restarted one by one.
func TestConformanceThroughAProxy(t *testing.T) {
	parallel(t)
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	out := maps.Clone(leftOut)
	maps.Copy(out, alone)
	scenarios, left := servedScenarios(t, out)
	c := newCluster(t, 3, "--history-events", "1000")
	p := startProxy(t, c)
	runSuite(t, p, scenarios)
	t.Logf("left out: %d scenarios", left)
	var all sync.WaitGroup
	all.Go(func() { runMovedSuite(t, p, scenarios) })
	c.rolling(p, 2)
	all.Wait()
}

// runMovedSuite runs the suite while members restart. Each of them publishes
// itself then, which takes an index of the store (K46): conversations that
// count indexes at that moment find one more than they expect. And a stream that
// has delivered events ends with the member that served it. Nothing else may
// fail.
func runMovedSuite(t *testing.T, s *server, scenarios string) {
	command := exec.CommandContext(t.Context(), "go", "run", ".", "-endpoint", s.client, "-scenarios", scenarios)
	command.Dir = *suite
	out, err := command.CombinedOutput()
	moved, ended := 0, 0
	for line := range strings.Lines(string(out)) {
		switch {
		case !strings.HasPrefix(line, "FAIL"):
		case strings.Contains(line, "{+"):
			moved++
		case strings.Contains(line, "end of body: want still open, got closed"):
			ended++
		default:
			t.Errorf("while members restarted: %s", line)
		}
	}
	if err != nil && moved+ended == 0 {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s: %d answers had an index that a restart had moved, %d streams ended; %s", s.name, moved, ended, strings.TrimSpace(tail(string(out), 3)))
}

// Requests that can be repeated are never dropped while members restart one by
// one, and writes are done once, or said to be of unknown outcome.
func TestRollingRestartBehindAProxy(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	p := startProxy(t, c)
	p.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	end := make(chan struct{})
	var readers sync.WaitGroup
	var reads atomic.Int64
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				a, err := p.do(http.MethodGet, "/v2/keys/k", "")
				if err != nil || a.status != http.StatusOK {
					t.Errorf("a read = %d %s, %v", a.status, a.body, err)
					return
				}
				reads.Add(1)
			}
		})
	}
	load := startLoad(t, []*server{p})
	c.rolling(p, 2)
	close(end)
	readers.Wait()
	failed := load.stop()
	load.verify(c)
	t.Logf("%d reads; %d writes of unknown outcome", reads.Load(), failed)
	if failed > 1 { // one that was on its way for all the time that a member takes to send clients away
		t.Errorf("%d writes failed, though members said that they were about to stop", failed)
	}
}

// R103: with the first member dead, a write is answered once and done once.
func TestAWriteBehindADeadMember(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	p := startProxy(t, c, "--proxy-failure-wait", "1h")
	for n, s := range c.members[:2] {
		if n == 0 {
			s.kill() // perhaps the first choice of the proxy, perhaps not
		} else {
			c.members[0].start()
			s.kill()
		}
		key := fmt.Sprintf("/v2/keys/q%d", n)
		eventually(t, hang, "a write to be taken", func() error {
			a, err := p.do(http.MethodPost, key, "value=1")
			if err == nil && a.status != http.StatusCreated {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
		a := c.leader().must(http.StatusOK, http.MethodGet, key+"?quorum=true", "")
		if got := strings.Count(a.body, `"value":"1"`); got != 1 {
			t.Errorf("R103: the write was done %d times: %s", got, a.body)
		}
	}
}

// R105: all members are replaced one at a time, under load; a proxy follows
// them, and finds them again after it was off itself.
func TestAllMembersAreReplacedBehindAProxy(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	p := startProxy(t, c, "--proxy-refresh-interval", "500ms")
	load := startLoad(t, []*server{p})
	for n := range 3 {
		s := c.add(fmt.Sprintf("r%d", n))
		c.waitVoter(s, c.leader())
		p.awaitEndpoints(4)
		victim := c.members[0]
		c.remove(victim, c.others(victim)[0])
		if status := victim.waitExit(); status != 0 {
			t.Errorf("%s ended with status %d after its removal", victim.name, status)
		}
		p.awaitEndpoints(3)
	}
	load.stop()
	load.verify(c)
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("the proxy ended with status %d", status)
	}
	p.launch() // its flags name a member that is no more
	p.awaitEndpoints(3)
	p.must(http.StatusOK, http.MethodGet, "/v2/keys/load", "")
}

// R101: a member that advertises the URL of the proxy makes no loop.
func TestAProxyThatIsAdvertised(t *testing.T) {
	parallel(t)
	member := newServer(t)
	p := newProxy(t, member, "--proxy-failure-wait", "200ms", "--proxy-refresh-interval", "200ms")
	member.flags = []string{"--advertise-client-urls", p.client}
	member.start()
	p.launch()
	looped := func() error {
		a, err := p.do(http.MethodGet, "/v2/keys/", "")
		if err != nil {
			return err
		}
		if a.status != http.StatusServiceUnavailable && a.status != http.StatusLoopDetected {
			return fmt.Errorf("answered %d %s", a.status, a.body)
		}
		a, err = p.do(http.MethodGet, "/v2/config/local/proxy", "")
		if err == nil && !strings.Contains(a.body, "leads back to this proxy") {
			err = fmt.Errorf("the endpoints are %s", a.body)
		}
		return err
	}
	eventually(t, hang, "the loop to be cut", looped)
	if files := openFiles(t, p); files > 50 {
		t.Errorf("R101: %d descriptors are open", files)
	}
	member.signal(syscall.SIGTERM)
	member.flags = nil
	member.start() // advertises its own URL, now
	eventually(t, hang, "the proxy to recover", func() error {
		a, err := p.do(http.MethodGet, "/v2/keys/", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}

// openFiles counts the descriptors of a process.
func openFiles(t *testing.T, s *server) int {
	t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// R104: the list of peers, cut at any byte, is used or refused with a reason.
func TestAProxyWithAListThatWasCut(t *testing.T) {
	parallel(t)
	member := newServer(t).start()
	p := newProxy(t, member)
	p.launch()
	p.awaitEndpoints(1)
	p.signal(syscall.SIGTERM)
	file := filepath.Join(p.dir, "proxy", "cluster")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, len(whole) / 3, len(whole) / 2, len(whole) - 3, len(whole) - 1} {
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		p.launch()
		if n == len(whole)-1 { // all but the end of the line
			p.awaitEndpoints(1)
			p.signal(syscall.SIGTERM)
			continue
		}
		if status := p.waitExit(); status != 1 || !strings.Contains(p.output.String(), "delete the file to begin from the flags again") {
			t.Errorf("R104: %d bytes of the list: exit %d\n%s", n, status, p.output)
		}
	}
}

// B6: what a directory was begun as, it stays.
func TestADirectoryStaysWhatItIs(t *testing.T) {
	parallel(t)
	member := newServer(t).start()
	p := newProxy(t, member)
	p.launch()
	p.awaitEndpoints(1)
	p.signal(syscall.SIGTERM)
	p.line = []string{binary, "--data-dir", p.dir, "--listen-client-urls", p.client} // F24: it advertises nothing
	p.launch()
	p.awaitEndpoints(1)
	p.waitLine("already initialized as proxy before")
	if status := p.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("a proxy ended with status %d", status)
	}
	member.signal(syscall.SIGTERM)
	member.flags = []string{"--proxy", "on"}
	member.start()
	member.waitLine("already initialized as member before")
	member.waitLine("--proxy=on is ignored")
}

// TestAProxyCountsWhatItRefuses: the series are there from the beginning, and count a foreign host and origin, a body
// that does not arrive in time, and a connection that is one too many.
func TestAProxyCountsWhatItRefuses(t *testing.T) {
	parallel(t)
	p := newProxy(t, newServer(t).start(), "--body-timeout", "100ms", "--cors", "http://friend.example", "--max-connections-per-client", "3")
	p.launch()
	p.awaitEndpoints(1)
	refused := func(reason string) string {
		label, text := `canopy_http_refused_total{reason="`+reason+`"} `, p.must(http.StatusOK, http.MethodGet, "/metrics", "").body
		_, count, there := strings.Cut(text, label)
		if !there {
			return "none"
		}
		count, _, _ = strings.Cut(count, "\n")
		return count
	}
	reasons := []string{"host", "origin", "slow_body", "connection", "idle connection", "spare connection"}
	for _, reason := range reasons {
		if n := refused(reason); n != "0" {
			t.Errorf("%s = %s at the beginning, want 0", reason, n)
		}
	}
	for _, head := range []string{
		"GET /v2/keys HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
		"DELETE /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n",
		"PUT /v2/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\nvalue=x",
	} {
		connection := p.dial()
		_, _ = io.WriteString(connection, head)
		_, _ = io.ReadAll(connection) // until the proxy closes it
		_ = connection.Close()
	}
	for _, reason := range reasons[:3] {
		eventually(t, hang, "a refusal to be counted", func() error {
			if n := refused(reason); n != "1" {
				return fmt.Errorf("%s = %s, want 1", reason, n)
			}
			return nil
		})
	}
	p.dialMany(10)
	eventually(t, hang, "connections beyond the limit to be counted", func() error {
		if refused("idle connection") == "0" && refused("connection") == "0" {
			return errors.New("none is")
		}
		return nil
	})
}
