package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canopy/discovery/dnstest"
)

// named are hosts whose processes ask a DNS server of the test.
type named struct {
	*hosts
	dns *dnstest.Server
}

// newNamedHosts makes hosts, and a DNS server for them. Each host has its own
// /etc/resolv.conf, which ip netns exec puts in the place of the usual one.
func newNamedHosts(t *testing.T, n int, zone string) named {
	t.Helper()
	h := newHosts(t, n)
	server := h.subnet + ".254"
	for host := range n {
		dir := filepath.Join("/etc/netns", h.namespace(host))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+server+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return named{h, dnstest.Start(t, server+":53", zone)}
}

// newProcess is one on a host, which looks for its cluster in DNS.
func (h named) newProcess(host int, name string, flags ...string) *server {
	s := newServer(h.t, append([]string{"--discovery-srv", "cluster.test"}, flags...)...)
	s.name, s.cluster = name, ""
	s.client, s.peer = "http://"+h.address(host)+":2379", "http://"+h.address(host)+":2380"
	s.wrap = []string{"ip", "netns", "exec", h.namespace(host)}
	return s
}

func records(hosts ...string) string {
	zone := ""
	for _, name := range hosts {
		zone += "_etcd-server._tcp.cluster.test SRV 0 0 2380 " + name + ".cluster.test.\n"
	}
	return zone
}

// Three processes find each other in DNS; one is killed while it waits, and one
// comes late: it has no address before. Nobody begins with what there is (R44).
// A proxy on a host that is not listed finds them as well (R45).
func TestAClusterIsFoundInDNS(t *testing.T) {
	parallel(t)
	h := newNamedHosts(t, 4, records("infra0", "infra1", "infra2"))
	address := func(host int) {
		h.dns.Add(t, fmt.Sprintf("infra%d.cluster.test A %s", host, h.address(host)))
	}
	address(0)
	address(1)
	c := &cluster{t: t}
	for host := range 3 {
		c.members = append(c.members, h.newProcess(host, fmt.Sprintf("m%d", host+1), "--initial-cluster-token", t.Name()))
	}
	first, killed, last := c.members[0], c.members[1], c.members[2]
	const waits = "the target infra2.cluster.test of an SRV record of cluster.test does not resolve"
	first.launch()
	first.waitLine(waits)
	killed.launch()
	killed.waitLine(waits)
	killed.kill()
	killed.launch()
	killed.waitLine(waits)
	first.refusesToServe()
	<-time.After(*late)
	address(2)
	last.launch()
	c.waitServing()
	c.isOneCluster()
	list, err := first.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if log := c.members[0].output.String(); strings.Contains(log, "the cluster knows this member at") {
			t.Errorf("a member warns that it advertises an address where its record has the name:\n%s", log)
		}
		if len(m.PeerURLs) != 1 || !strings.HasPrefix(m.PeerURLs[0], "http://infra") {
			t.Errorf("a member has the peer URLs %v, want the one of its record (B40)", m.PeerURLs)
		}
	}
	proxy := h.newProcess(3, "proxy", "--proxy", "on")
	proxy.start()
	proxy.must(http.StatusCreated, http.MethodPut, "/v2/keys/through", "value=1")
	stranger := h.newProcess(3, "stranger", "--initial-cluster-token", t.Name())
	stranger.dir += "-stranger"
	stranger.client, stranger.peer = strings.Replace(stranger.client, "2379", "3379", 1), strings.Replace(stranger.peer, "2380", "3380", 1)
	stranger.launch()
	if status := stranger.waitExit(); status != 1 || !strings.Contains(stranger.output.String(), `cannot find local etcd member \"stranger\" in SRV records`) {
		t.Errorf("a process that is not listed ended with %d\n%s", status, stranger.output)
	}
}

// A domain without records is an error that says what was looked up (B37).
func TestADomainWithoutRecords(t *testing.T) {
	parallel(t)
	h := newNamedHosts(t, 1, "infra0.cluster.test A 10.0.0.1")
	s := h.newProcess(0, "m1")
	s.launch()
	if status := s.waitExit(); status != 1 || !strings.Contains(s.output.String(), "no records _etcd-server-ssl._tcp.cluster.test or _etcd-server._tcp.cluster.test") {
		t.Errorf("exit status %d\n%s", status, s.output)
	}
}
