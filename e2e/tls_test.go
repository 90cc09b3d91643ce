package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// keyring is what the processes of a test are certified with.
type keyring struct {
	*certtest.Folder
	authority                        *certtest.Authority
	ca, cert, key, userCert, userKey string // files: a certificate for servers and members, and one for a client
}

func newKeyring(t *testing.T) *keyring {
	t.Helper()
	k := &keyring{Folder: certtest.NewFolder(t), authority: certtest.NewAuthority(t, "test-ca")}
	k.ca = k.Write("ca.crt", k.authority.PEM())
	k.cert, k.key = k.Issue(k.authority, "server", certtest.Hosts("localhost", "127.0.0.1"))
	k.userCert, k.userKey = k.Issue(k.authority, "client", certtest.Name("alice"), certtest.Hosts(), certtest.Usage(x509.ExtKeyUsageClientAuth))
	return k
}

// clientFlags are those of client ports that demand certificates, and peerFlags of members that do.
func (k *keyring) clientFlags() []string {
	return []string{"--cert-file", k.cert, "--key-file", k.key, "--client-cert-auth", "--trusted-ca-file", k.ca}
}

func (k *keyring) peerFlags() []string {
	return []string{"--peer-cert-file", k.cert, "--peer-key-file", k.key, "--peer-client-cert-auth", "--peer-trusted-ca-file", k.ca}
}

// user gives a client that shows the certificate of the user.
func (k *keyring) user(t *testing.T) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(k.userCert, k.userKey)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.authority.Pool(), Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// secureClients has a server speak https to clients, who show certificates.
func (s *server) secureClients(k *keyring) *server {
	s.client = strings.Replace(s.client, "http://", "https://", 1)
	s.flags, s.http = append(s.flags, k.clientFlags()...), k.user(s.t)
	return s
}

// securePeers has a server speak https to members, who show certificates.
func (s *server) securePeers(k *keyring) *server {
	s.peer = strings.Replace(s.peer, "http://", "https://", 1)
	s.cluster = s.name + "=" + s.peer
	s.flags = append(s.flags, k.peerFlags()...)
	return s
}

// TestFaultsOfCertificatesStopAStart has each row of section 2 of tls.md, with T5, T6, T8, T19 and T26: exit status 1, one line
// that names flag and file, nothing made, and the same from --check-config.
func TestFaultsOfCertificatesStopAStart(t *testing.T) {
	parallel(t)
	k, other := newKeyring(t), certtest.NewAuthority(t, "other")
	_, otherKey := other.Issue()
	empty, text := k.Write("empty", []byte{}), k.Write("text", []byte("no PEM at all\n"))
	encrypted := k.Write("encrypted", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	damaged := k.Write("damaged", bytes.Replace(k.authority.PEM(), []byte("-----END"), []byte("-----EMD"), 1))
	foreign := k.Write("foreign.key", otherKey)
	crl := k.Write("crl", other.Revoke(time.Now().Add(time.Hour)))
	nope := k.Path("nope")
	const client = "--listen-client-urls=https://127.0.0.1:0 --advertise-client-urls=https://127.0.0.1:1 "
	const peer = "--listen-peer-urls=https://127.0.0.1:0 "
	auth := "--cert-file=" + k.cert + " --key-file=" + k.key + " "
	for _, c := range []struct {
		flags string
		says  []string
	}{
		{client, []string{"cannot listen on TLS for https://127.0.0.1:0 in -listen-client-urls", "--cert-file", "--key-file"}},
		{peer, []string{"cannot listen on TLS for https://127.0.0.1:0 in -listen-peer-urls", "--peer-cert-file"}},
		{"--proxy=on --initial-cluster=a=http://127.0.0.1:1 " + client, []string{"cannot listen on TLS for https://127.0.0.1:0"}},
		{"--cert-file=" + k.cert, []string{"--cert-file " + k.cert + " needs --key-file"}},
		{"--peer-key-file=" + k.key, []string{"--peer-key-file " + k.key + " needs --peer-cert-file"}},
		{"--cert-file=" + nope + " --key-file=" + k.key, []string{"--cert-file " + nope + ": no such file or directory"}},
		{"--cert-file=" + k.cert + " --key-file=" + nope, []string{"--key-file " + nope + ": no such file or directory"}},
		{"--peer-cert-file=" + k.cert + " --peer-key-file=" + nope, []string{"--peer-key-file " + nope + ": no such file or directory"}},
		{"--proxy=on --initial-cluster=a=http://127.0.0.1:1 --peer-trusted-ca-file=" + nope, []string{"--peer-trusted-ca-file " + nope}},
		{"--cert-file=" + k.cert + " --key-file=" + foreign, []string{"--key-file " + foreign + ": it is not the key of the first certificate in --cert-file " + k.cert}},
		{"--cert-file=" + k.cert + " --key-file=" + encrypted, []string{"--key-file " + encrypted + ": the key is encrypted"}},
		{"--cert-file=" + k.key + " --key-file=" + k.cert, []string{"--cert-file " + k.key + ": it holds no certificate, but a block PRIVATE KEY"}},
		{client + auth + "--client-cert-auth", []string{"--client-cert-auth needs --trusted-ca-file"}},
		{"--peer-client-cert-auth", []string{"--peer-client-cert-auth needs --peer-trusted-ca-file"}},
		{client + auth + "--trusted-ca-file=" + empty, []string{"--trusted-ca-file " + empty + ": it holds no certificate in PEM form"}},
		{client + auth + "--trusted-ca-file=" + text, []string{"--trusted-ca-file " + text + ": it holds no certificate in PEM form"}},
		{client + auth + "--trusted-ca-file=" + k.key, []string{"--trusted-ca-file " + k.key + ": it holds no certificate, but a block PRIVATE KEY"}},
		{client + auth + "--ca-file=" + damaged, []string{"--ca-file " + damaged + ": the block that begins in line 1 is damaged"}},
		{client + auth + "--trusted-ca-file=" + k.ca + " --client-crl-file=" + crl, []string{"--client-crl-file " + crl + ": none of the authorities has signed it"}},
		{client + auth + "--cipher-suites=NOPE", []string{`unexpected TLS cipher suite "NOPE"`, "cipher-suites"}},
		{client + auth + "--tls-min-version=TLS1.1", []string{"-tls-min-version", "TLS1.1"}},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		flags := append(strings.Fields(c.flags), "--data-dir="+dir, "--log-outputs="+filepath.Join(dir, "log"))
		usage := strings.Contains(c.flags, "cipher-suites") || strings.Contains(c.flags, "min-version") // the value does not parse (F3)
		for _, check := range []bool{false, true} {
			if check {
				flags = append(flags, "--check-config=quiet")
			}
			_, said, status := checkConfig(t, nil, flags...)
			said = withoutWarnings(said)
			if want := map[bool]int{true: 2, false: 1}[usage && !check]; status != want || strings.Contains(said, "\n") {
				t.Errorf("%s: status %d, want %d, with\n%s", c.flags, status, want, said)
			}
			for _, each := range c.says {
				if !strings.Contains(said, each) {
					t.Errorf("%s: it says %q, want %q", c.flags, said, each)
				}
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: the data directory was made: %v", c.flags, err)
			}
		}
	}
}

// withoutWarnings leaves out what --check-config says besides.
func withoutWarnings(said string) string {
	var faults []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "warning: ") {
			faults = append(faults, line)
		}
	}
	return strings.TrimSuffix(strings.Join(faults, ""), "\n")
}

// TestCheckConfigJudgesCertificates checks T9, T10, T11 and T16: --check-config warns of what a start warns of, and a start goes on.
func TestCheckConfigJudgesCertificates(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	k.Issue(k.authority, "server", certtest.Hosts("10.9.9.9"), certtest.Until(24*time.Hour))
	if err := os.Chmod(k.key, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	advertised := strings.Replace(s.client, "http://", "https://", 1)
	s.line = []string{binary, "--data-dir", s.dir, "--listen-client-urls", s.client, "--advertise-client-urls", advertised, "--listen-peer-urls", s.peer,
		"--initial-advertise-peer-urls", s.peer, "--initial-cluster", s.cluster, "--listen-metrics-urls", strings.Replace(freeURL(t), "http", "https", 1)}
	s.line = append(s.line, k.clientFlags()...)
	warnings := []string{
		"The scheme of client url " + s.client + " is http while client key/cert files are presented",
		"the listener " + s.client + " is http, so it asks nobody for a certificate, in spite of --client-cert-auth",
		"--advertise-client-urls has " + advertised + ", but the listener at that port has another scheme: " + s.client,
		"--cert-file " + k.cert + ": the certificate expires on ",
		"--cert-file " + k.cert + ": the certificate is valid for ",
		"--key-file " + k.key + ": others may read the key (mode 0644): chmod 600",
	}
	_, said, status := checkConfig(t, nil, append(s.line[1:], "--check-config=quiet")...)
	if status != 0 || strings.Count(said, "\n") != len(warnings) {
		t.Errorf("status %d, and %q", status, said)
	}
	for _, text := range warnings {
		if !strings.Contains(said, "warning: "+text) {
			t.Errorf("it does not warn: %s\n%s", text, said)
		}
	}
	s.start()
	for _, text := range warnings {
		s.waitLine(text)
	}
	s.waitLine("clientTLS: cert = " + k.cert + ", key = " + k.key + ", ca = , trusted-ca = " + k.ca + ", client-cert-auth = true") // T2
}

// TestCertificatesAreReplacedUnderLoad checks T28: they are replaced again and again, one file after the other, and no request
// fails, neither on connections that stay nor on new ones; a broken file changes nothing. With -full it lasts a minute, with a
// new certificate each second.
func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	parallel(t)
	rounds, pause := 5, 200*time.Millisecond
	if *full {
		rounds, pause = 60, time.Second
	}
	k := newKeyring(t)
	s := newServer(t).secureClients(k).securePeers(k).start()
	var asked, last atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		user := k.user(t)
		transport := user.Transport.(*http.Transport)
		transport.DisableKeepAlives = n%2 == 0
		transport.ForceAttemptHTTP2 = n%4 < 2
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := user.Get(s.client + "/v2/keys/")
				if err != nil {
					t.Errorf("after %d requests: %v", asked.Load(), err)
					return
				}
				if _, err := response.Body.Read(make([]byte, 1)); err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("%s, %v", response.Status, err)
				}
				response.Body.Close()
				if transport.DisableKeepAlives {
					last.Store(response.TLS.PeerCertificates[0].SerialNumber.Int64())
				}
				asked.Add(1)
			}
		})
	}
	shown := func(serial int64) {
		t.Helper()
		eventually(t, hang, fmt.Sprintf("certificate %d to be shown", serial), func() error {
			if got := last.Load(); got != serial {
				return fmt.Errorf("certificate %d is", got)
			}
			return nil
		})
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := range rounds {
		<-tick.C
		cert, key := k.authority.Issue(certtest.Hosts("127.0.0.1"), certtest.Serial(int64(1000+n)))
		if n%2 == 0 {
			k.Replace("server.crt", cert)
			k.Replace("server.key", key)
		} else {
			k.Write("server.key", key)
			k.Write("server.crt", cert)
		}
	}
	shown(int64(1000 + rounds - 1))
	k.Write("server.crt", []byte("broken"))
	s.waitLine("--cert-file " + k.cert + ": it holds no certificate in PEM form; what was loaded before stays in use")
	before := asked.Load()
	eventually(t, hang, "requests with a broken file", func() error {
		if asked.Load() < before+100 {
			return errors.New("there are few")
		}
		return nil
	})
	shown(int64(1000 + rounds - 1))
	cert, key := k.authority.Issue(certtest.Hosts("127.0.0.1"), certtest.Serial(5000))
	k.Write("server.key", key)
	k.Write("server.crt", cert)
	shown(5000)
	close(stop)
	clients.Wait()
	t.Logf("%d requests", asked.Load())
	if err := s.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.waitLine("SIGHUP: certificates, keys and lists are read again")
	s.must(http.StatusOK, http.MethodGet, "/v2/keys/", "")
}

// TestIdleConnectionsDisturbNobody checks T20: a thousand connections that never begin a handshake do not disturb the others,
// and end after 10 s.
func TestIdleConnectionsDisturbNobody(t *testing.T) {
	parallel(t)
	k := newKeyring(t)
	s := newServer(t).secureClients(k).start()
	const many = 1000
	ended := make(chan error, many)
	began := time.Now()
	for range many {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.client, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
	}
	for n := range 50 { // each with a handshake
		s.http.CloseIdleConnections()
		s.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/k%d", n), "value=1")
	}
	for n := range many {
		select {
		case <-ended:
		case <-time.After(hang):
			t.Fatalf("%d connections that send nothing are open after %v", many-n, time.Since(began))
		}
	}
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("they were closed after %v: a handshake may take 10 s", took)
	}
	s.must(http.StatusOK, http.MethodGet, "/v2/keys/k1", "")
}

// run runs a foreign client, and gives its output and exit status.
func run(t *testing.T, environ []string, name string, args ...string) (output string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), environ...)
	out, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}

// TestCurlOverTLS checks T31, T34, T35 and T19 with curl.
func TestCurlOverTLS(t *testing.T) {
	parallel(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is needed: apt-get install curl")
	}
	k := newKeyring(t)
	s := newServer(t).secureClients(k).securePeers(k).start()
	foreign := certtest.NewAuthority(t, "foreign")
	foreignCert, foreignKey := k.Issue(foreign, "foreign")
	mine := []string{"--cacert", k.ca, "--cert", k.userCert, "--key", k.userKey}
	for _, c := range []struct {
		name   string
		args   []string
		status []int
		says   string
	}{
		{"HTTP/1.1", append([]string{"--http1.1", s.client + "/v2/keys/", "-w", "%{http_version}"}, mine...), []int{0}, `{"action":"get","node":{"dir":true}}` + "\n1.1"},
		{"HTTP/2", append([]string{"--http2", s.client + "/v2/keys/", "-w", "%{http_version}"}, mine...), []int{0}, `{"action":"get","node":{"dir":true}}` + "\n2"},
		{"TLS 1.2", append([]string{"--tls-max", "1.2", s.client + "/version"}, mine...), []int{0}, `"etcdserver":"2.3.8"`},
		{"a write", append([]string{"-XPUT", s.client + "/v2/keys/a", "-d", "value=1"}, mine...), []int{0}, `"action":"set"`},
		{"members", append([]string{s.client + "/v2/members"}, mine...), []int{0}, `"peerURLs":["` + s.peer + `"],"clientURLs":["` + s.client + `"]`},
		{"a peer port", append([]string{s.peer + "/members"}, mine...), []int{0}, `"name":"default"`},
		{"no --cacert", []string{s.client + "/version"}, []int{60}, "SSL certificate problem"},
		{"no certificate", []string{"--cacert", k.ca, s.client + "/v2/keys/"}, []int{55, 56}, ""},
		{"no certificate for a peer port", []string{"--cacert", k.ca, s.peer + "/members"}, []int{55, 56}, ""},
		{"a foreign certificate", []string{"--cacert", k.ca, "--cert", foreignCert, "--key", foreignKey, s.client + "/v2/keys/"}, []int{55, 56}, ""},
		{"plain http", []string{strings.Replace(s.client, "https", "http", 1) + "/v2/keys/"}, []int{0}, "Client sent an HTTP request to an HTTPS server."},
	} {
		out, status := run(t, nil, "curl", append([]string{"-sS", "--max-time", "60"}, c.args...)...)
		found := false
		for _, want := range c.status {
			found = found || status == want
		}
		if !found || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit status %d, want %d, with %q, want %q", c.name, status, c.status, out, c.says)
		}
	}
	for _, text := range []string{"the other side shows no certificate", "none of the authorities that are trusted here has signed", "the other side speaks plain http",
		"the other side breaks off the handshake, as clients of OpenSSL do that do not trust the certificate of this side", "on the peer port failed"} {
		s.waitLine(text)
	}
}

// TestCurlTrustsASelfSignedCertificate checks T27: the file that --auto-tls makes is the authority of clients.
func TestCurlTrustsASelfSignedCertificate(t *testing.T) {
	parallel(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is needed: apt-get install curl")
	}
	s := newServer(t, "--auto-tls", "--peer-auto-tls")
	s.client, s.peer = strings.Replace(s.client, "http", "https", 1), strings.Replace(s.peer, "http", "https", 1)
	s.cluster = s.name + "=" + s.peer
	s.launch()
	s.waitLine("ready to serve client requests")
	made := filepath.Join(s.dir, "fixtures", "client", "cert.pem")
	if out, status := run(t, nil, "curl", "-sS", "--cacert", made, s.client+"/version"); status != 0 || !strings.Contains(out, "2.3.8") {
		t.Errorf("exit status %d: %s", status, out)
	}
	if out, status := run(t, nil, "curl", "-sS", s.client+"/version"); status != 60 {
		t.Errorf("without the file: exit status %d: %s", status, out)
	}
	if log := s.output.String(); strings.Contains(log, "found invalid file/dir") || strings.Count(log, "made a self-signed certificate") != 2 {
		t.Errorf("the log:\n%s", log)
	}
}
