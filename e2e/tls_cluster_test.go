package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// peerFlagsOf are the flags of a member with a certificate of its own, with a serial number; the file of revoked certificates
// is empty at first.
func (k *keyring) peerFlagsOf(name string, serial int64, of *certtest.Authority) []string {
	cert, key := k.Issue(of, name, certtest.Hosts("127.0.0.1"), certtest.Serial(serial))
	return []string{"--peer-cert-file", cert, "--peer-key-file", key, "--peer-client-cert-auth", "--peer-trusted-ca-file", k.ca, "--peer-crl-file", k.Path("peer.crl")}
}

// revoke writes the list of revoked certificates of members.
func (k *keyring) revoke(serials ...int64) {
	k.Replace("peer.crl", k.authority.Revoke(time.Now().Add(time.Hour), serials...))
}

// newSecureCluster starts members that demand certificates of each other; their serial numbers are 101, 102, and so on. Clients
// speak http.
func newSecureCluster(t *testing.T, k *keyring, size int) *cluster {
	t.Helper()
	k.revoke()
	return newClusterWith(t, size, func(n int, s *server) {
		s.peer = strings.Replace(s.peer, "http://", "https://", 1)
		s.flags = append(s.flags, k.peerFlagsOf(s.name, int64(101+n), k.authority)...)
	})
}

// TestMembersWithCertificatesTheyMade checks T27 with three members: they reach each other without verifying, and say so.
func TestMembersWithCertificatesTheyMade(t *testing.T) {
	parallel(t)
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(trusting.CloseIdleConnections)
	c := newClusterWith(t, 3, func(_ int, s *server) {
		s.client, s.peer = strings.Replace(s.client, "http://", "https://", 1), strings.Replace(s.peer, "http://", "https://", 1)
		s.http = trusting
	}, "--auto-tls", "--peer-auto-tls")
	for n, s := range c.members {
		s.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/k%d", n), "value=1")
		s.waitLine("--peer-auto-tls: members do not verify each other")
	}
	c.agree()
}

// TestRollFromHTTPToHTTPS checks T17: members change to https one by one, while clients write. Each has its certificate first;
// then its URL is changed, and it is restarted with a listener of https. Nothing that was acknowledged is lost, and in the end
// a request without a certificate fails.
func TestRollFromHTTPToHTTPS(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	k.revoke()
	c := newCluster(t, 3)
	l := startLoad(t, c.members)
	restart := func(s *server) {
		t.Helper()
		l.use(c.others(s))
		if status := s.signal(syscall.SIGTERM); status != 0 {
			t.Errorf("%s ended with status %d", s.name, status)
		}
		s.start()
		l.use(c.members)
	}
	for n, s := range c.members {
		s.flags = append(s.flags, k.peerFlagsOf(s.name, int64(101+n), k.authority)...)
		restart(s)
	}
	for _, s := range c.members {
		secure := strings.Replace(s.peer, "http://", "https://", 1)
		door := c.others(s)[0]
		eventually(t, hang, "the URL of "+s.name+" to change", func() error { // a change may meet another that is not applied yet
			if a := door.postJSON(http.MethodPut, "/v2/members/"+c.id(s), fmt.Sprintf(`{"peerURLs":[%q]}`, secure)); a.status != http.StatusNoContent {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
		s.peer = secure
		restart(s)
	}
	c.leader()
	l.stop()
	l.verify(c)
	c.agree()
	for _, s := range c.members {
		_, err := get(s.peer+"/members", &tls.Config{RootCAs: k.authority.Pool()})
		if err == nil {
			t.Errorf("%s answers a member without a certificate", s.name)
		}
	}
	list, err := c.members[0].list()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if len(m.PeerURLs) != 1 || !strings.HasPrefix(m.PeerURLs[0], "https://") {
			t.Errorf("%s has the URLs %q", m.Name, m.PeerURLs)
		}
	}
}

// get asks a URL, and gives the answer.
func get(url string, c *tls.Config) (string, error) {
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	a, err := send(&http.Client{Transport: transport, Timeout: hang}, http.MethodGet, url, "")
	return a.body, err
}

// TestAMemberOfAForeignAuthority: a member that has the data of one, and so the right cluster id, and the certificate of another
// authority, gets no entry and gives no vote. Both sides say why.
func TestAMemberOfAForeignAuthority(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	c := newSecureCluster(t, k, 3)
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/before", "value=1")
	c.agree()
	stranger, others := c.members[2], c.members[:2]
	own := stranger.flags
	if status := stranger.signal(syscall.SIGTERM); status != 0 {
		t.Fatalf("it ended with status %d", status)
	}
	others[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/while-away", "value=1")
	stranger.flags = append(stranger.flags[:2:2], k.peerFlagsOf("foreign", 1, certtest.NewAuthority(t, "foreign"))...)
	stranger.launch()
	for _, s := range others {
		s.waitLine(`on the peer port failed: none of the authorities that are trusted here has signed the certificate of the other side; the certificate is that of \"\", valid for [\"127.0.0.1\"], issued by \"foreign\"`)
	}
	stranger.waitLine("the other side refuses the certificate of this side: it does not know the authority that signed it")
	others[1].must(http.StatusCreated, http.MethodPut, "/v2/keys/after", "value=1")
	if a, err := stranger.do(http.MethodGet, "/v2/keys/while-away", ""); err == nil && a.status == http.StatusOK {
		t.Errorf("the stranger has got an entry: %s", a.body)
	}
	if status := others[0].signal(syscall.SIGTERM); status != 0 {
		t.Fatalf("it ended with status %d", status)
	}
	if a, err := send(&http.Client{Timeout: 15 * time.Second}, http.MethodPut, others[1].client+"/v2/keys/alone", "value=1"); err == nil && a.status < 300 {
		t.Errorf("one member of three has written with the vote of the stranger: %s", a.body)
	}
	if status := stranger.signal(syscall.SIGTERM); status != 0 {
		t.Fatalf("the stranger ended with status %d", status)
	}
	stranger.flags = own
	stranger.start()
	others[0].start()
	stranger.must(http.StatusOK, http.MethodGet, "/v2/keys/after?quorum=true", "")
	c.agree()
}

// TestARevokedMemberIsCutOff checks T26: a member whose certificate is revoked while its streams are open is cut off, and
// comes back with a new one.
func TestARevokedMemberIsCutOff(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	c := newSecureCluster(t, k, 3)
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/before", "value=1")
	c.agree()
	revoked, others := c.members[2], c.members[:2]
	k.revoke(103)
	for _, s := range others {
		s.waitLine("closed the connection with 127.0.0.1:")
		s.waitLine("the certificate with the serial number 67 is revoked")
	}
	eventually(t, hang, "a write of the others", func() error {
		a, err := others[0].do(http.MethodPut, "/v2/keys/after", "value=1")
		if err == nil && a.status > http.StatusCreated {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	if a, err := revoked.do(http.MethodGet, "/v2/keys/after", ""); err == nil && a.status == http.StatusOK {
		t.Errorf("the revoked member has got an entry: %s", a.body)
	}
	k.Issue(k.authority, revoked.name, certtest.Hosts("127.0.0.1"), certtest.Serial(203))
	eventually(t, hang, "the member to come back with a new certificate", func() error {
		a, err := revoked.do(http.MethodGet, "/v2/keys/after", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	c.agree()
}

// TestAttackersAtThePeerPort: who has no certificate of a member gets no answer but an alert, whatever path is asked for.
func TestAttackersAtThePeerPort(t *testing.T) {
	parallel(t)
	k, clients := newKeyring(t), certtest.NewAuthority(t, "clients")
	c := newSecureCluster(t, k, 1)
	s := c.members[0]
	address := strings.TrimPrefix(s.peer, "https://")
	for name, pair := range map[string]*tls.Certificate{
		"no certificate":                          nil,
		"a certificate of clients":                new(clients.Pair()),
		"an expired certificate":                  new(k.authority.Pair(certtest.Until(-time.Hour))),
		"a certificate of servers":                new(k.authority.Pair(certtest.Usage(x509.ExtKeyUsageServerAuth))),
		"a certificate that is not of this world": new(clients.Pair(certtest.Name(strings.Repeat("x\n", 1000)))),
	} {
		for _, path := range []string{"/members", "/version", "/health", "/raft", "/raft/probing", "/raft/stream/message/1", "/raft/snapshot"} {
			config := &tls.Config{RootCAs: k.authority.Pool()}
			if pair != nil {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
			}
			if body, err := get(s.peer+path, config); err == nil {
				t.Errorf("%s gets %s: %s", name, path, body)
			}
		}
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /members HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("plain http: %+v, %v", response, err)
	}
	if body, err := get(s.peer+"/members", &tls.Config{RootCAs: k.authority.Pool(), Certificates: []tls.Certificate{k.authority.Pair()}}); err != nil || !strings.Contains(body, s.peer) {
		t.Errorf("a certificate of members: %s, %v", body, err)
	}
	s.must(http.StatusCreated, http.MethodPut, "/v2/keys/a", "value=1")
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("renegotiation needs openssl: apt-get install openssl")
	}
	out, status := run(t, nil, "bash", "-c", fmt.Sprintf("echo R | openssl s_client -connect %s -tls1_2 -CAfile %s -cert %s -key %s 2>&1", address, k.ca, k.Path("m1.crt"), k.Path("m1.key")))
	if status == 0 || !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert") {
		t.Errorf("renegotiation: exit status %d, %s", status, tail(out, 5))
	}
}

// TestAWatchEndsWhenItsCertificateIsRevoked checks T26 for clients, with a stream that is open.
func TestAWatchEndsWhenItsCertificateIsRevoked(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	crl := k.Write("client.crl", k.authority.Revoke(time.Now().Add(time.Hour)))
	s := newServer(t, "--client-crl-file", crl).secureClients(k)
	k.Issue(k.authority, "client", certtest.Serial(7), certtest.Usage(x509.ExtKeyUsageClientAuth))
	watching := k.user(t)
	k.Issue(k.authority, "client", certtest.Serial(8), certtest.Usage(x509.ExtKeyUsageClientAuth))
	s.http = k.user(t)
	s.start()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client+"/v2/keys/a?wait=true&stream=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := watching.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	s.must(http.StatusCreated, http.MethodPut, "/v2/keys/a", "value=1")
	events := bufio.NewReader(response.Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.Contains(line, `"action":"set"`) {
		t.Fatalf("%q, %v", line, err)
	}
	k.Replace("client.crl", k.authority.Revoke(time.Now().Add(time.Hour), 7))
	if line, err := events.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("the watch goes on: %q, %v", line, err)
	}
	if _, err := send(watching, http.MethodGet, s.client+"/v2/keys/a", ""); err == nil {
		t.Error("the revoked certificate is accepted")
	}
	s.must(http.StatusOK, http.MethodGet, "/v2/keys/a", "")
	s.waitLine("the certificate with the serial number 7 is revoked")
}

// TestACertificateWithoutClientAuth checks T33: a member whose certificate lacks clientAuth is told so at its start, and by
// each handshake on both sides; the others form their cluster without it, and do not flap.
func TestACertificateWithoutClientAuth(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	k.revoke()
	c := &cluster{t: t}
	var list []string
	for n := range 3 {
		s := newServer(t, "--initial-cluster-token", t.Name())
		s.name = fmt.Sprintf("m%d", n+1)
		s.peer = strings.Replace(s.peer, "http://", "https://", 1)
		s.flags = append(s.flags, k.peerFlagsOf(s.name, int64(101+n), k.authority)...)
		c.members = append(c.members, s)
		list = append(list, s.name+"="+s.peer)
	}
	half := c.members[2]
	own := half.flags
	cert, key := k.Issue(k.authority, "half", certtest.Hosts("127.0.0.1"), certtest.Usage(x509.ExtKeyUsageServerAuth))
	half.flags = append(half.flags[:2:2], "--peer-cert-file", cert, "--peer-key-file", key, "--peer-client-cert-auth", "--peer-trusted-ca-file", k.ca)
	for _, s := range c.members {
		s.cluster = strings.Join(list, ",")
		s.launch()
	}
	half.waitLine("the certificate lacks the extended key usage clientAuth")
	half.waitLine("the other side refuses the certificate of this side")
	for _, s := range c.members[:2] {
		s.waitServing()
		s.waitLine("on the peer port failed: the certificate lacks the extended key usage clientAuth")
		s.must(http.StatusCreated, http.MethodPut, "/v2/keys/"+s.name, "value=1")
	}
	if status := half.signal(syscall.SIGTERM); status != 0 {
		t.Fatalf("it ended with status %d", status)
	}
	half.flags = own
	half.start()
	c.agree()
}

// TestAMemberOfHTTPDialsHTTPS checks T12 and T40: a member that serves only http to members dials one of https with the
// authority alone.
func TestAMemberOfHTTPDialsHTTPS(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	c := newClusterWith(t, 2, func(n int, s *server) {
		if n == 0 {
			s.peer = strings.Replace(s.peer, "http://", "https://", 1)
			s.flags = append(s.flags, "--peer-cert-file", k.cert, "--peer-key-file", k.key)
			return
		}
		s.flags = append(s.flags, "--peer-trusted-ca-file", k.ca)
	})
	for _, s := range c.members {
		s.must(http.StatusCreated, http.MethodPut, "/v2/keys/"+s.name, "value=1")
	}
	c.agree()
}
