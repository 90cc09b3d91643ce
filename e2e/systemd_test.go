package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// systemd is the supervisor of one process: it keeps what the process tells.
type systemd struct {
	t    *testing.T
	mu   sync.Mutex // guards said
	said []string
}

// supervise makes a process tell a supervisor what it does.
func supervise(t *testing.T, s *server) *systemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	d, done := &systemd{t: t}, make(chan struct{})
	go func() {
		defer close(done)
		datagram := make([]byte, 4096)
		for {
			n, err := socket.Read(datagram)
			if err != nil {
				return // the test is over
			}
			d.mu.Lock()
			d.said = append(d.said, string(datagram[:n]))
			d.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		socket.Close()
		<-done
	})
	s.environ = append(s.environ, "NOTIFY_SOCKET="+path)
	return d
}

func (d *systemd) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.said)
}

// await waits until so many datagrams have each of the texts.
func (d *systemd) await(times int, texts ...string) {
	d.t.Helper()
	eventually(d.t, hang, fmt.Sprintf("%d datagrams with %q", times, texts), func() error {
		found := 0
		for _, said := range d.all() {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(said, text) }) {
				found++
			}
		}
		if found < times {
			return fmt.Errorf("systemd was told %q", d.all())
		}
		return nil
	})
}

// isReady tells whether the process has said so.
func (d *systemd) isReady() bool {
	return slices.ContainsFunc(d.all(), func(said string) bool { return strings.Contains(said, "READY=1") })
}

// Whatever a start waits for, systemd hears what it is, again and again, and is asked for more time. The process is
// ready only when it serves (F33).
func TestSystemdHearsOfEachWait(t *testing.T) {
	lone := func(t *testing.T, flags ...string) *server { return newServer(t, flags...) }
	for _, tt := range []struct {
		state, status string
		process       func(t *testing.T) *server
	}{
		{"a quorum", "STATUS=waits for a leader: 1 of 3 members reachable, 2 are needed", func(t *testing.T) *server {
			s := lone(t)
			s.cluster += ",m2=" + freeURL(t) + ",m3=" + freeURL(t)
			return s
		}},
		{"a discovery token", "STATUS=found 1 of 2 members, waiting for 1", func(t *testing.T) *server {
			place := newService(t)
			return place.newJoiner("m1", place.newToken(2))
		}},
		{"a discovery service", "STATUS=cluster status check: error connecting to", func(t *testing.T) *server {
			s := lone(t, "--discovery", freeURL(t)+"/token")
			s.cluster = ""
			return s
		}},
		{"records in DNS", "STATUS=the target infra1.cluster.test of an SRV record of cluster.test does not resolve", func(t *testing.T) *server {
			return newNamedHosts(t, 1, records("infra1")).newProcess(0, "m1")
		}},
		{"members to join", "STATUS=asks the members of the cluster who they are, to join it", func(t *testing.T) *server {
			s := lone(t, "--initial-cluster-state", "existing")
			s.cluster += ",m2=" + freeURL(t)
			return s
		}},
	} {
		t.Run(tt.state, func(t *testing.T) {
			t.Parallel()
			s := tt.process(t)
			d := supervise(t, s)
			s.launch()
			d.await(2, tt.status, "\nEXTEND_TIMEOUT_USEC=180000000")
			if d.isReady() {
				t.Errorf("it is ready while it waits: %q", d.all())
			}
			if status := s.signal(syscall.SIGTERM); status != 0 {
				t.Errorf("it ended with status %d", status)
			}
			d.await(1, "STOPPING=1")
		})
	}
}

// A proxy is ready at once: it answers, if only that there is no member yet.
func TestSystemdHearsOfAProxy(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--proxy", "on")
	d := supervise(t, s)
	s.launch()
	d.await(1, "STATUS=serves as a proxy\nREADY=1")
}

// Three units that are started one after the other come up: the first ones are given time until there is a quorum. A
// restart tells of the log before it is ready.
func TestUnitsComeUpOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t}
	var list []string
	for n := range 3 {
		s := newServer(t)
		s.name = fmt.Sprintf("m%d", n+1)
		c.members, list = append(c.members, s), append(list, s.name+"="+s.peer)
	}
	var units []*systemd
	for n, s := range c.members {
		s.cluster = strings.Join(list, ",")
		units = append(units, supervise(t, s))
		s.launch()
		if n == 0 {
			units[0].await(2, "STATUS=waits for a leader: 1 of 3", "EXTEND_TIMEOUT_USEC=")
		}
	}
	for _, unit := range units {
		unit.await(1, "STATUS=serves, ", " leads\nREADY=1")
	}
	again := c.members[0]
	again.kill()
	unit := supervise(t, again)
	again.launch()
	for _, status := range []string{"STATUS=reads its snapshot and log\nEXTEND_TIMEOUT_USEC=", "STATUS=applies its log\nEXTEND_TIMEOUT_USEC=", "READY=1"} {
		unit.await(1, status)
	}
}
