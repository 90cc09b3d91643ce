package ports

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/etcdserver/metrics"
	"canopy/internal/certificates"
	"canopy/internal/memory"
	"canopy/internal/tlsconf/certtest"
)

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// logged are the lines of a log.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// site is the ports of a process.
type site struct {
	t            *testing.T
	client, peer string        // addresses
	plain        string        // of the listener for clients without TLS, if there are two
	slow         chan struct{} // gets one for each request of /slow, which lasts
	log          *logged
	registry     *prometheus.Registry
}

// serveSite opens the ports as flags say, with capacity for so many clients; 0: for many.
func serveSite(t *testing.T, clients int, flags ...string) *site {
	t.Helper()
	in, err := config.Parse(append([]string{"--data-dir", t.TempDir(), "--advertise-client-urls", "https://127.0.0.1:1"}, flags...), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, log: &logged{}, registry: prometheus.NewRegistry(), slow: make(chan struct{}, 1)}
	logger := logrus.New()
	logger.SetOutput(s.log)
	held, err := certificates.Open(in.Config, false, logger)
	if err != nil {
		t.Fatal(err)
	}
	held.Measure(s.registry)
	capacity := CapacityOf(2000, 1, 0)
	if clients > 0 {
		capacity.Clients, capacity.PerClient = clients, clients
	}
	p, err := Open(Options{Config: in.Config, TLS: held, Capacity: capacity, Memory: memory.New(1<<30, nil), Metrics: metrics.New(s.registry).HTTP,
		Fast: func(*http.Request) bool { return true }, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			s.slow <- struct{}{}
			<-r.Context().Done()
		}
		fmt.Fprint(w, r.Proto, " ", r.TLS != nil)
	})
	p.Client.Open(answer)
	p.Peer.Open(answer)
	const overflows = 2
	s.peer = p.servers[overflows].listener.Addr().String()
	s.plain, s.client = p.servers[len(p.servers)-2].listener.Addr().String(), p.servers[len(p.servers)-1].listener.Addr().String()
	return s
}

// get asks an address with TLS, and gives the answer.
func get(address string, c *tls.Config, http2 bool) (string, error) {
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: http2, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + address + "/v2/keys/a")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}

const (
	clientPort = "--listen-client-urls=https://127.0.0.1:0"
	peerPort   = "--listen-peer-urls=https://127.0.0.1:0"
	plainPeer  = "--listen-peer-urls=http://127.0.0.1:0"
)

// TestWhoIsLetIn is the table of T3, with T4 and T5 as they are here, for both doors, with TLS 1.2 and 1.3. Who is refused
// gets no answer; a certificate of another authority, an expired one, one of a server and a revoked one are refused alike.
func TestWhoIsLetIn(t *testing.T) {
	f, a, stranger := certtest.NewFolder(t), certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "stranger")
	cert, key := f.Issue(a, "server")
	ca, other := f.Write("ca", a.PEM()), f.Write("other", stranger.PEM())
	revoked := f.Write("crl", a.Revoke(time.Now().Add(time.Hour), 666))
	good := a.Pair(certtest.Name("alice"), certtest.Hosts("alice.example"))
	type outcome struct{ none, good, foreign, bad bool }
	const yes = true
	all, few := outcome{yes, yes, yes, yes}, outcome{good: yes}
	for _, c := range []struct {
		flags   string // with PREFIX for the door
		want    outcome
		revoked bool // the list of revoked certificates is given
	}{
		{flags: "", want: all},
		{flags: "--PREFIXtrusted-ca-file=" + ca, want: few}, // T4
		{flags: "--PREFIXclient-cert-auth --PREFIXtrusted-ca-file=" + ca, want: few},
		{flags: "--PREFIXca-file=" + ca, want: few},
		{flags: "--PREFIXca-file=" + ca + " --PREFIXtrusted-ca-file=" + other, want: outcome{good: yes, foreign: yes}}, // T1
		{flags: "--PREFIXclient-cert-auth --PREFIXtrusted-ca-file=" + ca + " --WHOSE-crl-file=" + revoked, want: few, revoked: true},
		{flags: "--PREFIXtrusted-ca-file=" + ca + " --WHOSE-cert-allowed-hostname=alice.example", want: few},
		{flags: "--PREFIXtrusted-ca-file=" + ca + " --WHOSE-cert-allowed-hostname=bob.example", want: outcome{}},
	} {
		for _, door := range []string{"client", "peer"} {
			prefix := map[string]string{"peer": "peer-"}[door]
			flags := strings.Fields(strings.NewReplacer("PREFIX", prefix, "WHOSE", door).Replace(c.flags))
			flags = append(flags, "--"+prefix+"cert-file="+cert, "--"+prefix+"key-file="+key)
			if door == "client" {
				flags = append(flags, clientPort, plainPeer)
			} else {
				flags = append(flags, "--listen-client-urls=http://127.0.0.1:0", peerPort)
			}
			s := serveSite(t, 0, flags...)
			address := map[string]string{"client": s.client, "peer": s.peer}[door]
			for _, shown := range []struct {
				name string
				pair *tls.Certificate
				want bool
			}{
				{"no certificate", nil, c.want.none},
				{"a good one", &good, c.want.good},
				{"one of another authority", new(stranger.Pair()), c.want.foreign},
				{"an expired one", new(a.Pair(certtest.Until(-time.Hour))), c.want.bad},
				{"one of a server", new(a.Pair(certtest.Usage(x509.ExtKeyUsageServerAuth))), c.want.bad},
				{"a revoked one", new(a.Pair(certtest.Serial(666), certtest.Hosts("alice.example"))), !c.revoked && c.want.good},
			} {
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					config := &tls.Config{RootCAs: a.Pool(), MaxVersion: version}
					if shown.pair != nil {
						config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.pair, nil }
					}
					if answer, err := get(address, config, false); (err == nil) != shown.want {
						t.Errorf("%s port, %s, %s, %s: %q, %v; want an answer: %v", door, c.flags, shown.name, tls.VersionName(version), answer, err, shown.want)
					}
				}
			}
		}
	}
}

// TestTheProtocolIsChosen checks T19: HTTP/2 and HTTP/1.1 for clients, HTTP/1.1 alone for peers and with --http2=false, and no
// version of TLS that the flags exclude.
func TestTheProtocolIsChosen(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	cert, key := f.Issue(a, "server")
	flags := []string{"--cert-file=" + cert, "--key-file=" + key, "--peer-cert-file=" + cert, "--peer-key-file=" + key, clientPort, peerPort}
	s := serveSite(t, 0, flags...)
	for _, c := range []struct {
		address string
		http2   bool
		want    string
	}{
		{s.client, true, "HTTP/2.0 true"},
		{s.client, false, "HTTP/1.1 true"},
		{s.peer, true, "HTTP/1.1 true"},
		{serveSite(t, 0, append(flags, "--http2=false")...).client, true, "HTTP/1.1 true"},
	} {
		if got, err := get(c.address, &tls.Config{RootCAs: a.Pool()}, c.http2); got != c.want {
			t.Errorf("%v: %q, %v, want %q", c, got, err, c.want)
		}
	}
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	for _, c := range []struct {
		flags  string
		client *tls.Config
		ok     bool
	}{
		{"", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"--tls-min-version=TLS1.3", &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		{"--tls-min-version=TLS1.3", &tls.Config{}, true},
		{"--tls-max-version=TLS1.2", &tls.Config{MinVersion: tls.VersionTLS13}, false},
		{"--tls-max-version=TLS1.2", &tls.Config{}, true},
		{"--cipher-suites=" + tls.CipherSuiteName(suite), &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}, true},
		{"--cipher-suites=" + tls.CipherSuiteName(suite), &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, false},
	} {
		s := serveSite(t, 0, append(strings.Fields(c.flags), flags...)...)
		c.client.RootCAs = a.Pool()
		for _, address := range []string{s.client, s.peer} {
			if _, err := get(address, c.client, false); (err == nil) != c.ok {
				t.Errorf("%s, %+v: %v, want an answer: %v", c.flags, c.client, err, c.ok)
			}
		}
	}
}

// TestFailuresAreToldOnce checks T15 and T29 on both ports: the log has one line for each cause, with what the certificate
// holds, and a counter has all.
func TestFailuresAreToldOnce(t *testing.T) {
	f, a, stranger := certtest.NewFolder(t), certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "stranger")
	cert, key := f.Issue(a, "server")
	ca := f.Write("ca", a.PEM())
	s := serveSite(t, 0, "--cert-file="+cert, "--key-file="+key, "--trusted-ca-file="+ca, "--client-cert-allowed-hostname=127.0.0.1",
		"--peer-cert-file="+cert, "--peer-key-file="+key, "--peer-trusted-ca-file="+ca, "--peer-cert-allowed-hostname=127.0.0.1", clientPort, peerPort)
	ask := func(changes ...func(*x509.Certificate)) func(string) error {
		pair := a.Pair(changes...)
		return func(address string) error {
			_, err := get(address, &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{pair}}, false)
			return err
		}
	}
	foreign := stranger.Pair(certtest.Name("mallory"), certtest.Hosts("m.example"))
	const times = 3
	for _, c := range []struct {
		reason, text string
		act          func(address string) error
	}{
		{"no certificate", "the other side shows no certificate, and one is demanded here", func(address string) error {
			_, err := get(address, &tls.Config{RootCAs: a.Pool()}, false)
			return err
		}},
		{"unknown authority", `that of \"mallory\", valid for [\"m.example\"], issued by \"stranger\"`, func(address string) error {
			_, err := get(address, &tls.Config{RootCAs: a.Pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &foreign, nil }}, false)
			return err
		}},
		{"expired", "the certificate expired on", ask(certtest.Until(-time.Hour))},
		{"wrong usage", "lacks the extended key usage clientAuth", ask(certtest.Usage(x509.ExtKeyUsageServerAuth))},
		{"wrong name", `only certificates that are valid for \"127.0.0.1\" are allowed`, ask(certtest.Hosts("10.9.9.9"))},
		{"TLS version", "versions of TLS", func(address string) error {
			_, err := get(address, &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false)
			return err
		}},
		{"refused here: bad certificate", "the other side refuses the certificate of this side", func(address string) error {
			_, err := get(address, &tls.Config{RootCAs: stranger.Pool()}, false)
			return err
		}},
		{"plain HTTP", "the other side speaks plain http", func(address string) error {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /v2/keys HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil && response.StatusCode == http.StatusBadRequest { // T15
				err = errors.New("refused")
			}
			return err
		}},
	} {
		for port, address := range map[string]string{"client": s.client, "peer": s.peer} {
			began := time.Now()
			for range times {
				if err := c.act(address); err == nil {
					t.Errorf("%s on the %s port: there is no error", c.reason, port)
				}
			}
			s.await(port, c.reason, times)
			head := "TLS handshake with 127.0.0.1:"
			n := 0
			for line := range strings.Lines(s.log.String()) {
				if strings.Contains(line, head) && strings.Contains(line, "on the "+port+" port failed: ") && strings.Contains(line, c.text) && strings.Contains(line, "level=warning") {
					n++
				}
			}
			const period = 10 * time.Second // a machine that is slower may see two lines
			if n == 0 || n > 1 && time.Since(began) < period {
				t.Errorf("%s on the %s port: %d lines with %q in\n%s", c.reason, port, n, c.text, s.log)
			}
		}
	}
}

// await waits until so many failures of a reason were counted.
func (s *site) await(port, reason string, want float64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		got := s.counted(port, reason)
		if got == want {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s on the %s port was counted %v times, want %v\n%s", reason, port, got, want, s.log)
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *site) counted(port, reason string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "canopy_tls_handshake_failures_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == port && m.GetLabel()[1].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// TestMixedListeners checks T11: a list may have both schemes, and the listener of http asks for no certificate. Connections
// beyond the capacity are served by the scheme of the listener that they came to.
func TestMixedListeners(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	cert, key := f.Issue(a, "server")
	s := serveSite(t, 1, "--cert-file="+cert, "--key-file="+key, "--trusted-ca-file="+f.Write("ca", a.PEM()), plainPeer,
		"--listen-client-urls=https://127.0.0.1:0,http://127.0.0.1:0")
	secured := &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{a.Pair()}}
	if answer, err := getPlain(s.plain); answer != "HTTP/1.1 false" {
		t.Errorf("plain: %q, %v", answer, err)
	}
	if answer, err := get(s.client, secured, false); answer != "HTTP/1.1 true" {
		t.Errorf("with a certificate: %q, %v", answer, err)
	}
	if answer, err := get(s.client, &tls.Config{RootCAs: a.Pool()}, false); err == nil {
		t.Errorf("without a certificate: %q", answer)
	}
	s.occupy()
	const refused = "too many connections are open"
	if answer, err := getPlain(s.plain); !strings.Contains(answer, refused) {
		t.Errorf("plain, beyond the capacity: %q, %v", answer, err)
	}
	if answer, err := get(s.client, secured, true); !strings.Contains(answer, refused) {
		t.Errorf("with a certificate, beyond the capacity: %q, %v", answer, err)
	}
	if answer, err := get(s.client, &tls.Config{RootCAs: a.Pool()}, false); err == nil {
		t.Errorf("without a certificate, beyond the capacity: %q", answer)
	}
}

// occupy takes the only place of the client ports, once the connections before have left it.
func (s *site) occupy() {
	s.t.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		busy, err := net.Dial("tcp", s.plain)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { busy.Close() })
		if _, err := io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			continue // it was cut
		}
		answered := make(chan struct{})
		go func() { // ends with the connection
			defer close(answered)
			_, _ = busy.Read(make([]byte, 1))
		}()
		select {
		case <-s.slow:
			return
		case <-answered: // there was no place yet
		}
	}
	s.t.Fatal("nobody gets the only place")
}

// getPlain asks an address without TLS.
func getPlain(address string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + address + "/v2/keys/a")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}
