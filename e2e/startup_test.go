package e2e

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
)

// onceOpen waits for a port to open, and sends a single request on a connection of its own, as scripts do.
func (s *server) onceOpen(method, path, form string) answer {
	s.t.Helper()
	address := strings.TrimPrefix(s.client, "http://")
	eventually(s.t, hang, "the port to open", func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	alone := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hang}
	a, err := send(alone, method, s.client+path, form)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// writesOnceOpen expects the first write after the port has opened to be done.
func (s *server) writesOnceOpen(what string) {
	s.t.Helper()
	if a := s.onceOpen(http.MethodPut, "/v2/keys/first", "value=1"); a.status/100 != 2 {
		s.t.Errorf("%s: the first write = %d %s", what, a.status, a.body)
	}
}

// patient lets requests wait for as long as a busy machine may need for a start.
var patient = []string{"--startup-grace", "1m"}

// TestTheFirstWriteIsDone: who waits for the port of a member to open, and then writes once, has written.
func TestTheFirstWriteIsDone(t *testing.T) {
	parallel(t)
	s := newServer(t, patient...)
	s.launch()
	s.writesOnceOpen("a first start")
	for range 3 {
		s.kill()
		s.launch()
		s.writesOnceOpen("a restart after kill -9")
	}
}

// TestTheFirstWriteOfAClusterIsDone: all members and a proxy are started at once, and again after they were killed.
func TestTheFirstWriteOfAClusterIsDone(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3, patient...)
	for _, s := range c.members {
		s.kill()
	}
	p := newProxy(t, c.members[0], patient...)
	for range 2 {
		p.launch()
		for _, s := range c.members {
			s.launch()
		}
		p.writesOnceOpen("through a proxy")
		for _, s := range c.members {
			s.writesOnceOpen("a member among others that start")
		}
		for _, s := range c.members {
			s.kill()
		}
		p.kill()
	}
}

// TestAStartThatLasts: a member that finds no quorum for longer than requests wait says so, and when to come back.
func TestAStartThatLasts(t *testing.T) {
	parallel(t)
	s := newServer(t, "--startup-grace", "100ms", "--initial-cluster-state", "existing")
	s.cluster += ",other=" + freeURL(t)
	s.launch()
	eventually(t, hang, "503 with Retry-After", func() error {
		response, err := http.Get(s.client + "/v2/keys/")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if a, err := s.do(http.MethodGet, "/health", ""); err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("/health = %+v, %v", a, err)
		}
		if a, err := s.do(http.MethodGet, "/metrics", ""); err != nil || a.status != http.StatusOK || !strings.Contains(a.body, "canopy_") {
			t.Errorf("F32: /metrics = %+v, %v", a, err)
		}
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v", response.Status, response.Header)
		}
		return nil
	})
}

// TestWhatScriptsLookFor: scripts wait for these lines of etcd in the log.
func TestWhatScriptsLookFor(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	for _, words := range []string{"etcdserver: published {Name:default ", "etcdserver: set the initial cluster version to 2.3"} {
		eventually(t, hang, words, func() error {
			if !strings.Contains(s.output.String(), words) {
				return errors.New("is not in the log")
			}
			return nil
		})
	}
}
