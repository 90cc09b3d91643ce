package e2e

import (
	"canopy/internal/dialtest"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var late = flag.Duration("late", 2*time.Second, "how late the last member of a cluster starts that is discovered")

// meetingPlace is where processes find each other.
type meetingPlace struct {
	server   *server
	environ  []string // for those who go there
	newToken func(size int) string
}

// newService starts canopy discovery.
func newService(t *testing.T, flags ...string) *meetingPlace {
	t.Helper()
	s := &server{t: t, client: freeURL(t), http: http.DefaultClient}
	s.line = append([]string{binary, "discovery", "--addr", strings.TrimPrefix(s.client, "http://"), "--rate", "0"}, flags...)
	if !strings.Contains(strings.Join(flags, " "), "--endpoints") {
		s.line = append(s.line, "--data-dir", filepath.Join(t.TempDir(), "store"))
	}
	s.start()
	return &meetingPlace{server: s, newToken: func(size int) string {
		return s.must(http.StatusOK, http.MethodPut, fmt.Sprintf("/new?size=%d", size), "").body
	}}
}

// newSecureService starts canopy discovery behind its own TLS.
func newSecureService(t *testing.T) *meetingPlace {
	t.Helper()
	certificate, key := newCertificate(t)
	s := &server{t: t, client: strings.Replace(freeURL(t), "http:", "https:", 1), http: http.DefaultClient}
	s.line = []string{binary, "discovery", "--addr", strings.TrimPrefix(s.client, "https://"), "--data-dir", filepath.Join(t.TempDir(), "store"),
		"--cert-file", certificate, "--key-file", key}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(certificate)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatalf("read the certificate: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	t.Cleanup(client.CloseIdleConnections)
	s.launch()
	token := func(size int) (string, error) {
		a, err := send(client, http.MethodGet, fmt.Sprintf("%s/new?size=%d", s.client, size), "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("/new: %d %s", a.status, a.body)
		}
		return a.body, err
	}
	eventually(t, hang, "the service to serve", func() error { _, err := token(1); return err })
	return &meetingPlace{server: s, environ: []string{"SSL_CERT_FILE=" + certificate}, newToken: func(size int) string {
		made, err := token(size)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}}
}

// newCertificate writes a certificate for loopback, and its key, to files.
func newCertificate(t *testing.T) (certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificateFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{certificateFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificateFile, keyFile
}

// beEtcd makes a process one of etcd itself, with the same flags. Where that is
// not installed the test ends with these words; .ci/run demands that it is.
func (s *server) beEtcd() {
	s.t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		s.t.Skip("etcd is not installed here: apt-get install etcd-server")
	}
	s.line = append([]string{program, "--enable-v2=true"}, s.args()[1:]...)
}

// newStore starts a v2 cluster of one member to keep tokens in: of this
// program, or etcd itself, which is skipped where it is not installed.
func newStore(t *testing.T, etcd bool) *meetingPlace {
	t.Helper()
	s := newServer(t)
	if etcd {
		s.beEtcd()
	}
	s.start()
	return &meetingPlace{server: s, newToken: func(size int) string {
		path := fmt.Sprintf("/v2/keys/discovery/%d", time.Now().UnixNano())
		s.must(http.StatusCreated, http.MethodPut, path+"/_config/size", fmt.Sprintf("value=%d", size))
		return s.client + path
	}}
}

// newJoiner is a process that looks for its cluster under a token.
func (p *meetingPlace) newJoiner(name, token string, flags ...string) *server {
	s := newServer(p.server.t, append([]string{"--discovery", token}, flags...)...)
	s.name, s.cluster, s.environ = name, "", p.environ
	return s
}

// waitLine waits until a process has logged something.
func (s *server) waitLine(text string) {
	s.t.Helper()
	eventually(s.t, hang, s.name+" to log "+text, func() error {
		ended := false
		select {
		case <-s.exited:
			ended = true
		default:
		}
		if strings.Contains(s.output.String(), text) {
			return nil
		}
		if ended {
			s.t.Fatalf("%s ended without having logged %q\n%s", s.name, text, tail(s.output.String(), 20))
		}
		return fmt.Errorf("it has not; its log ends with\n%s", tail(s.output.String(), 5))
	})
}

// refusesToServe checks that a process which waits says so (F32).
func (s *server) refusesToServe() {
	s.t.Helper()
	eventually(s.t, hang, s.name+" to listen", func() error {
		a, err := s.do(http.MethodGet, "/v2/keys/", "")
		if err == nil && (a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "the member is starting")) {
			s.t.Fatalf("%s waits for others, and answers %d %s", s.name, a.status, a.body)
		}
		return err
	})
}

// isOneCluster checks that all have the same members and the same cluster.
func (c *cluster) isOneCluster() {
	c.t.Helper()
	ids := map[string]bool{}
	for _, s := range c.members {
		list, err := s.list()
		if err != nil || len(list) != len(c.members) {
			c.t.Errorf("%s knows the members %v, %v, want %d", s.name, list, err, len(c.members))
		}
		ids[s.must(http.StatusOK, http.MethodGet, "/v2/keys/", "").header.Get("X-Etcd-Cluster-Id")] = true
	}
	if len(ids) != 1 {
		c.t.Errorf("there are the clusters %v, want one", ids)
	}
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/shared", "value=1")
	c.agree()
}

// Three processes and two more than there is room for find each other, wherever
// they meet; one of them is killed while it waits, and one comes late. The two
// are proxies, and stay so. Once there is a cluster, the token does not matter.
func TestAClusterIsDiscovered(t *testing.T) {
	parallel(t)
	for _, tt := range []struct {
		name  string
		place func(t *testing.T) *meetingPlace
	}{
		{"through the service", func(t *testing.T) *meetingPlace { return newService(t) }},
		{"through the service over TLS", newSecureService},
		{"through the service before a cluster", func(t *testing.T) *meetingPlace {
			return newService(t, "--endpoints", "http://127.0.0.1:1,"+newStore(t, false).server.client)
		}},
		{"through the service before etcd", func(t *testing.T) *meetingPlace { return newService(t, "--endpoints", newStore(t, true).server.client) }},
		{"through a member", func(t *testing.T) *meetingPlace { return newStore(t, false) }},
		{"through etcd", func(t *testing.T) *meetingPlace { return newStore(t, true) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			place := tt.place(t)
			token := place.newToken(3)
			c := discoverCluster(t, place, token)
			c.isOneCluster()
			for n := range 2 {
				place.isProxy(place.newJoiner(fmt.Sprintf("p%d", n+1), token), c)
			}
			surplus := place.newJoiner("p3", token, "--discovery-fallback", "exit")
			surplus.launch()
			if status := surplus.waitExit(); status != 1 || !strings.Contains(surplus.output.String(), "discovery: cluster is full") {
				t.Errorf("a process too many ended with %d\n%s", status, surplus.output)
			}
			place.server.kill()
			c.members[0].signal(syscall.SIGTERM)
			c.members[0].start().waitLine("discovery token ignored since a cluster has already been initialized")
		})
	}
}

// discoverCluster has three processes find each other.
func discoverCluster(t *testing.T, place *meetingPlace, token string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for n := range 3 {
		c.members = append(c.members, place.newJoiner(fmt.Sprintf("m%d", n+1), token))
	}
	first, killed, last := c.members[0], c.members[1], c.members[2]
	first.launch()
	first.waitLine("found 1 of 3 members, waiting for 2")
	killed.launch()
	killed.waitLine("found 2 of 3 members, waiting for 1")
	killed.kill()
	killed.launch()
	killed.waitLine("found 2 of 3 members, waiting for 1")
	first.refusesToServe()
	<-time.After(*late)
	last.launch()
	c.waitServing()
	return c
}

// isProxy starts a process that has to become a proxy to the cluster, twice.
func (p *meetingPlace) isProxy(s *server, c *cluster) {
	p.server.t.Helper()
	s.start().tells("a process finds no room in the cluster of its token", 0)
	s.must(http.StatusCreated, http.MethodPut, "/v2/keys/"+s.name, "value=1")
	if list, err := s.list(); err != nil || len(list) != len(c.members) {
		p.server.t.Errorf("through %s the members are %v, %v", s.name, list, err)
	}
	s.signal(syscall.SIGTERM)
	s.start().waitLine("the server is already initialized as proxy before")
	c.members[0].must(http.StatusOK, http.MethodGet, "/v2/keys/"+s.name+"?quorum=true", "")
	s.must(http.StatusOK, http.MethodPut, "/v2/keys/"+s.name, "value=2")
}

// Processes of etcd meet at the service as they did at that of old, by the old
// rules.
func TestEtcdMeetsAtTheService(t *testing.T) {
	parallel(t)
	place := newService(t)
	token := place.newToken(2)
	c := &cluster{t: t}
	for n := range 2 {
		s := place.newJoiner(fmt.Sprintf("e%d", n+1), token)
		s.beEtcd()
		s.launch()
		c.members = append(c.members, s)
	}
	c.waitServing()
	c.isOneCluster()
	surplus := place.newJoiner("e3", token, "--discovery-fallback", "exit")
	surplus.beEtcd()
	surplus.launch()
	if surplus.waitExit(); !strings.Contains(surplus.output.String(), "cluster is full") {
		t.Errorf("a process too many said\n%s", surplus.output)
	}
}

// Service and processes are killed at each step, and the cluster forms with the
// same token (R43).
func TestKillsDuringDiscovery(t *testing.T) {
	parallel(t)
	place := newService(t)
	token := place.newToken(3)
	below := strings.TrimPrefix(token, place.server.client)
	c := &cluster{t: t}
	for n := range 3 {
		place.server.kill()
		s := place.newJoiner(fmt.Sprintf("m%d", n+1), token)
		c.members = append(c.members, s)
		s.launch()
		s.waitLine("cluster status check: error connecting to")
		place.server.start()
		eventually(t, hang, s.name+" to register", func() error {
			a, err := place.server.do(http.MethodGet, below, "")
			if err == nil && !strings.Contains(a.body, `"value":"`+s.name+"=") {
				err = fmt.Errorf("registered are %s", a.body)
			}
			return err
		})
		for _, s := range c.members {
			s.kill()
			s.launch()
		}
	}
	c.waitServing()
	c.isOneCluster()
}

// Two spellings of one token lead to one cluster (R106, D25).
func TestTwoSpellingsLeadToOneCluster(t *testing.T) {
	parallel(t)
	place := newService(t)
	token := place.newToken(2)
	c := &cluster{t: t, members: []*server{
		place.newJoiner("m1", token), place.newJoiner("m2", strings.Replace(token, "127.0.0.1", "localhost", 1)+"/"),
	}}
	for _, s := range c.members {
		s.launch()
	}
	c.waitServing()
	c.isOneCluster()
	c.members[0].waitLine("it uses another spelling of the discovery URL")
}

// A process that waits tells systemd for whom, ends in good order when it is
// told to, and goes on when it is started again (F33, F38).
func TestAProcessIsStoppedWhileItWaits(t *testing.T) {
	parallel(t)
	place := newService(t)
	token := place.newToken(2)
	s := place.newJoiner("m1", token)
	heard := supervise(t, s)
	s.launch()
	s.waitLine("found 1 of 2 members, waiting for 1")
	heard.await(1, "STATUS=found 1 of 2 members, waiting for 1\nEXTEND_TIMEOUT_USEC=")
	if status := s.signal(syscall.SIGTERM); status != 0 || !strings.Contains(s.output.String(), "stopped during the start") {
		t.Errorf("it ended with %d\n%s", status, s.output)
	}
	s.launch()
	s.waitLine("found 1 of 2 members, waiting for 1")
	other := place.newJoiner("m2", token)
	other.launch()
	c := &cluster{t: t, members: []*server{s, other}}
	c.waitServing()
	c.isOneCluster()
	if _, err := os.Stat(filepath.Join(s.dir, "member", "discovery")); !os.IsNotExist(err) {
		t.Errorf("the note about the wait is left: %v", err)
	}
}

// A member whose data is lost does not come back as who it was; one that never
// had any does (D24).
func TestALostDataDirectory(t *testing.T) {
	parallel(t)
	place := newService(t)
	token := place.newToken(3)
	c := discoverCluster(t, place, token)
	lost := c.members[1]
	lost.kill()
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	lost.launch()
	if status := lost.waitExit(); status != 1 || !strings.Contains(lost.output.String(), "has run before and its data is gone") {
		t.Errorf("a member without its data ended with %d\n%s", status, lost.output)
	}
	c.others(lost)[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/on", "value=1")
}

// A process that cannot be a member leaves the token as it was, and says why (R42).
func TestATokenThatLeadsNowhere(t *testing.T) {
	parallel(t)
	place := newStore(t, false)
	for _, tt := range []struct{ size, want string }{
		{"0", "discovery: size key is bad"}, {"-1", "discovery: size key is bad"}, {"1000000000", "discovery: size key is bad"},
		{"three", "discovery: size key is bad"}, {"", "discovery: size key is bad"},
	} {
		path := fmt.Sprintf("/v2/keys/bad/%d", time.Now().UnixNano())
		place.server.must(http.StatusCreated, http.MethodPut, path+"/_config/size", "value="+tt.size)
		s := place.newJoiner("m1", place.server.client+path)
		s.launch()
		if status := s.waitExit(); status != 1 || !strings.Contains(s.output.String(), tt.want) || strings.Contains(s.output.String(), "panic") {
			t.Errorf("size %q: exit status %d, want 1 and %s\n%s", tt.size, status, tt.want, s.output)
		}
		if a := place.server.must(http.StatusOK, http.MethodGet, path, ""); strings.Contains(a.body, `"nodes"`) {
			t.Errorf("size %q: registered are %s", tt.size, a.body)
		}
	}
}

// The service counts handshakes that fail, and tells when its certificate ends.
func TestTheServiceMeasuresTLS(t *testing.T) {
	t.Parallel()
	place := newSecureService(t)
	plain := dialtest.Dial(t, strings.TrimPrefix(place.server.client, "https://"), "GET / HTTP/1.0\r\n\r\n", hang)
	if _, err := io.Copy(io.Discard, plain); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(strings.TrimPrefix(place.environ[0], "SSL_CERT_FILE="))
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatalf("read the certificate: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	place.server.waitLine("on the discovery port failed: the other side speaks plain http")
	a, err := send(client, http.MethodGet, place.server.client+"/metrics", "")
	if err != nil || !strings.Contains(a.body, `canopy_tls_handshake_failures_total{port="discovery",reason="plain HTTP"} 1`) ||
		!strings.Contains(a.body, "canopy_certificate_expiry_seconds{") {
		t.Errorf("/metrics: %v\n%s", err, a.body)
	}
}
