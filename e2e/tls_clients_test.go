package e2e

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"canopy/internal/tlsconf/certtest"
)

// etcdctl runs Debian's client for the v2 API, with the certificate of the user.
func (k *keyring) etcdctl(t *testing.T, endpoints string, args ...string) (output string, status int) {
	t.Helper()
	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("etcdctl is needed: apt-get install etcd-client")
	}
	args = append([]string{"--endpoints", endpoints, "--ca-file", k.ca, "--cert-file", k.userCert, "--key-file", k.userKey}, args...)
	return run(t, []string{"ETCDCTL_API=2"}, "etcdctl", args...)
}

// speaks has etcdctl use an endpoint for all that it usually does.
func (k *keyring) speaks(t *testing.T, what, endpoints string, flags ...string) {
	t.Helper()
	for _, c := range []struct {
		args, says string
		status     int
	}{
		{"set /a/b 1", "1", 0},
		{"get /a/b", "1", 0},
		{"--output extended get /a/b", "Key: /a/b", 0},
		{"mk /a/b 2", "Key already exists", 4},
		{"update /a/b 3", "3", 0},
		{"ls --recursive /", "/a/b", 0},
		{"rm --recursive /a", "", 0},
		{"get /a/b", "Key not found", 4},
	} {
		out, status := k.etcdctl(t, endpoints, append(flags, strings.Fields(c.args)...)...)
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: etcdctl %s: exit status %d, want %d, with %q, want %q", what, c.args, status, c.status, out, c.says)
		}
	}
}

// TestEtcdctlOverTLS checks T32 and T35: Debian's etcdctl with an authority and a client certificate, against one member.
func TestEtcdctlOverTLS(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	s := newServer(t).secureClients(k).securePeers(k).start()
	k.speaks(t, "one member", s.client)
	if out, status := k.etcdctl(t, s.client, "cluster-health"); status != 0 || !strings.Contains(out, "cluster is healthy") {
		t.Errorf("cluster-health: exit status %d, %s", status, out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--endpoints", s.client, "--ca-file", k.ca, "get", "/a"}, "certificate required"},
		{[]string{"--endpoints", s.client, "get", "/a"}, "certificate signed by unknown authority"},
		{[]string{"--endpoints", strings.Replace(s.client, "https", "http", 1), "get", "/a"}, ""},
	} {
		if out, status := run(t, []string{"ETCDCTL_API=2"}, "etcdctl", c.args...); status == 0 || !strings.Contains(out, c.says) {
			t.Errorf("etcdctl %v: exit status %d, %s, want %s", c.args, status, out, c.says)
		}
	}
}

// TestEtcdctlOverTLSWithAClusterAndAProxy checks T35, T37 and T41: the same against three members that demand certificates of
// each other, and through a proxy that demands one of its clients and has one of its own for the members.
func TestEtcdctlOverTLSWithAClusterAndAProxy(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	c := newClusterWith(t, 3, func(_ int, s *server) { s.secureClients(k).securePeers(k) })
	var endpoints []string
	for _, s := range c.members {
		endpoints = append(endpoints, s.client)
		k.speaks(t, s.name, s.client, "--no-sync")
	}
	k.speaks(t, "all members", strings.Join(endpoints, ","))
	if out, status := k.etcdctl(t, endpoints[0], "cluster-health"); status != 0 || strings.Count(out, "is healthy: got healthy result from https://") != 3 {
		t.Errorf("cluster-health: exit status %d, %s", status, out)
	}
	proxyCert, proxyKey := k.Issue(k.authority, "proxy")
	p := newServer(t).secureClients(k)
	p.line = append([]string{binary, "--proxy", "on", "--data-dir", p.dir, "--listen-client-urls", p.client, "--initial-cluster", c.members[0].cluster,
		"--peer-cert-file", proxyCert, "--peer-key-file", proxyKey, "--peer-trusted-ca-file", k.ca}, k.clientFlags()...)
	p.start()
	p.awaitEndpoints(3)
	k.speaks(t, "a proxy", p.client, "--no-sync")
	if log := p.output.String(); strings.Contains(log, "this proxy shows the certificate to members") {
		t.Errorf("a proxy that asks everyone for a certificate is warned of (T43):\n%s", log)
	}
}

// TestAProxyThatLendsItsCertificate checks T43: a proxy with a plain listener lets everyone do what its certificate may, and
// says so.
func TestAProxyThatLendsItsCertificate(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	s := newServer(t).secureClients(k).securePeers(k).start()
	cert, key := k.Issue(k.authority, "proxy", certtest.Name("gate"))
	p := newServer(t)
	p.line = []string{binary, "--proxy", "on", "--data-dir", p.dir, "--listen-client-urls", p.client, "--initial-cluster", s.cluster,
		"--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", k.ca}
	p.start()
	p.awaitEndpoints(1)
	if a := p.must(http.StatusOK, http.MethodGet, "/v2/keys/", ""); !strings.Contains(a.body, `"action":"get"`) {
		t.Errorf("through the proxy: %s", a.body)
	}
	p.waitLine("this proxy shows the certificate to members for everyone who reaches it")
	p.waitLine(`the certificate has a common name, \"gate\"`)
}
