package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// A way is how clients and servers of a test talk: both configurations are nil without TLS.
type way struct{ server, client *tls.Config }

// eachWay runs a test without TLS, and with both versions of it.
func eachWay(t *testing.T, run func(t *testing.T, over way)) {
	t.Run("plain", func(t *testing.T) { run(t, way{}) })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { run(t, securely(t, version)) })
	}
}

// securely is a way with TLS of a version.
func securely(t testing.TB, version uint16) way {
	t.Helper()
	authority := certtest.NewAuthority(t, "ca")
	return way{
		&tls.Config{Certificates: []tls.Certificate{authority.Pair(certtest.Hosts("localhost"))}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: authority.Pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}, MaxVersion: version},
	}
}

// failures are the handshakes of a server that have failed.
type failures chan error

func (f failures) add(_ net.Conn, err error) { f <- err }

// secureSite is a site with the given TLS, which tells of failed handshakes.
func secureSite(t *testing.T, o TLS) (*site, failures) {
	t.Helper()
	s := &site{entered: make(chan string, 100), leave: make(chan struct{})}
	close(s.leave)
	s.over = securely(t, tls.VersionTLS13)
	failed := make(failures, 100)
	o.Config, o.Failed = s.over.server, failed.add
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.Server = New(&http.Server{Handler: http.HandlerFunc(s.handle), Protocols: protocols}, func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/other") })
	s.UseTLS(o)
	s.addr = serve(t, s.Serve, s.Close)
	return s, failed
}

// raw is a connection to a site without TLS.
func (s *site) raw(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// TestAPlainRequestToATLSPort (T15).
func TestAPlainRequestToATLSPort(t *testing.T) {
	s, failed := secureSite(t, TLS{})
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b", "DELETE /a HTTP/1.1\r\n\r\n"} {
		conn := s.raw(t)
		io.WriteString(conn, request)
		answer, err := io.ReadAll(conn)
		if want := "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"; err != nil || string(answer) != want {
			t.Errorf("to %q the answer is %q, %v", request, answer, err)
		}
		if err := <-failed; !errors.Is(err, ErrPlainHTTP) {
			t.Errorf("the failure is %v", err)
		}
	}
}

// A client that speaks no protocol known here gets no answer in it.
func TestAFailedHandshakeIsTold(t *testing.T) {
	s, failed := secureSite(t, TLS{})
	conn := s.raw(t)
	io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
	if answer, err := io.ReadAll(conn); err != nil || strings.Contains(string(answer), "HTTP") {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	var header tls.RecordHeaderError
	if err := <-failed; !errors.As(err, &header) {
		t.Errorf("the failure is %v", err)
	}
	s.raw(t).Close()
	if err := <-failed; !errors.Is(err, io.EOF) {
		t.Errorf("the failure is %v", err)
	}
	refuses := tls.Client(s.raw(t), &tls.Config{ServerName: "localhost"})
	if err := refuses.Handshake(); err == nil {
		t.Error("a client trusts a CA that it does not know")
	}
	var alert *net.OpError
	if err := <-failed; !errors.As(err, &alert) || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("the failure is %v", err)
	}
}

// TestASlowHandshakeIsCut (T20): before its first byte, and in the middle.
func TestASlowHandshakeIsCut(t *testing.T) {
	s, failed := secureSite(t, TLS{Timeout: 20 * time.Millisecond})
	silent, slow := s.raw(t), s.raw(t)
	io.WriteString(slow, "\x16\x03\x01\x01")
	for _, conn := range []net.Conn{silent, slow} {
		if answer, err := io.ReadAll(conn); isTimeout(err) || len(answer) > 0 {
			t.Errorf("at the end: %q, %v", answer, err)
		}
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "within 20ms") {
			t.Errorf("the failure is %v", err)
		}
	}
}

// The time-out of the handshake does not limit what comes after it.
func TestTheHandshakeTimeoutEndsWithTheHandshake(t *testing.T) {
	s, failed := secureSite(t, TLS{Timeout: time.Second})
	c := s.dial(t)
	c.get("/a")
	c.wants("/a", true, false)
	if err := c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.in.ReadByte(); !isTimeout(err) {
		t.Errorf("after the time-out: %v", err)
	}
	if len(failed) > 0 {
		t.Errorf("a failure: %v", <-failed)
	}
}

// TestIdleConnectionsKeepNobodyOut (T20): a thousand connections that send nothing, or a part of a handshake, take no place
// from others.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	s, _ := secureSite(t, TLS{Timeout: patience})
	for n := range 1000 {
		conn, err := net.Dial("unix", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if n%2 == 0 {
			stall(t, conn)
		}
	}
	eventually(t, func() bool { return len(s.open()) == 1000 })
	c := s.dial(t)
	c.get("/a")
	c.wants("/a", true, false)
	down, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(down); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// stall sends the first message of a handshake, and nothing more.
func stall(t *testing.T, conn net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	go tls.Client(here, &tls.Config{ServerName: "localhost"}).Handshake() // ends with the pipe
	defer there.Close()
	defer here.Close()
	hello := make([]byte, 8<<10)
	n, err := there.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(hello[:n]); err != nil {
		t.Fatal(err)
	}
}

func TestHTTP2OverTLS(t *testing.T) {
	s, _ := secureSite(t, TLS{})
	config := s.over.client.Clone()
	config.NextProtos = nil
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.addr)
		}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://localhost/a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "/a" || resp.Proto != "HTTP/2.0" {
		t.Errorf("answer %q over %s, %v", text, resp.Proto, err)
	}
}

// TestEachRequestKnowsItsTLS: here, by net/http after a handover, after the connection was hijacked and returned, and with HTTP/2.
func TestEachRequestKnowsItsTLS(t *testing.T) {
	over := securely(t, tls.VersionTLS13)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &site{over: over}
	s.Server = New(&http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := "none"
		if r.TLS != nil {
			body = fmt.Sprintf("%s %v %s", r.TLS.ServerName, r.TLS.HandshakeComplete, r.Proto)
		}
		if r.URL.Path != "/hijack" {
			if _, ours := w.(*answer); ours {
				w.Header().Set("Served", "here")
			}
			fmt.Fprint(w, body)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		early, _ := buffered.Peek(buffered.Reader.Buffered())
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		conn.(interface{ Return([]byte) }).Return(early)
	})}, func(r *http.Request) bool { return r.URL.Path != "/other" })
	s.UseTLS(TLS{Config: over.server})
	s.addr = serve(t, s.Serve, s.Close)
	const want = "localhost true HTTP/1.1"
	c := s.dial(t)
	for _, step := range []struct {
		path string
		here bool
	}{{"/a", true}, {"/hijack", false}, {"/b", true}, {"/other", false}, {"/a", false}, {"/hijack", false}, {"/c", true}} {
		c.get(step.path)
		c.wants(want, step.here, false)
	}
	config := over.client.Clone()
	config.NextProtos = nil
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.addr)
		}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://localhost/a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "localhost true HTTP/2.0" {
		t.Errorf("over HTTP/2: %q, %v", text, err)
	}
}

// A client learns from TLS that an answer without a length is complete, and was not cut off by somebody else.
func TestTheEndIsToldToTheClient(t *testing.T) {
	for _, path := range []string{"/a?h.connection=close", "/a?h.connection=close&times=200"} {
		over := securely(t, tls.VersionTLS13)
		w := newTwins(t, over)
		conn, err := net.Dial("unix", w.ours)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		secured := tls.Client(conn, over.client)
		fmt.Fprintf(secured, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		in := bufio.NewReader(secured)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		if _, err := in.ReadByte(); err != io.EOF { // io.ErrUnexpectedEOF without close_notify
			t.Errorf("the end is %v", err)
		}
	}
}

// What a client sends is shown decrypted, here and by net/http, and can be refused.
func TestReceivedSeesWhatClientsSend(t *testing.T) {
	var seen atomic.Int64
	full := errors.New("full")
	s, _ := secureSite(t, TLS{Received: func(net.Conn) func([]byte) error {
		return func(b []byte) error {
			seen.Add(int64(len(b)))
			if strings.Contains(string(b), "/full") {
				return full
			}
			return nil
		}
	}})
	c := s.dial(t)
	c.get("/a")
	c.wants("/a", true, false)
	c.get("/other")
	c.wants("/other", false, false)
	if want := int64(len("GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + "GET /other HTTP/1.1\r\nHost: x\r\n\r\n")); seen.Load() != want {
		t.Errorf("%d bytes were seen; %d were sent", seen.Load(), want)
	}
	c.get("/full")
	c.ends()
}

func TestResumptionIsOffered(t *testing.T) {
	s, _ := secureSite(t, TLS{})
	s.over.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for n := range 3 {
		c := s.dial(t)
		c.get("/a")
		c.wants("/a", true, false)
		if resumed := c.Conn.(*tls.Conn).ConnectionState().DidResume; resumed != (n > 0) {
			t.Errorf("connection %d: resumed is %v", n, resumed)
		}
		c.Close()
	}
}

// A connection that its listener gives with TLS is served in the same way.
func TestAListenerMayGiveTLS(t *testing.T) {
	s := &site{over: securely(t, tls.VersionTLS13), entered: make(chan string, 10), leave: make(chan struct{})}
	close(s.leave)
	failed := make(failures, 1)
	s.Server = New(&http.Server{Handler: http.HandlerFunc(s.handle)}, func(*http.Request) bool { return true })
	s.UseTLS(TLS{Failed: failed.add, Timeout: patience})
	s.addr = serve(t, func(l net.Listener) error { return s.Serve(tls.NewListener(l, s.over.server)) }, s.Close)
	c := s.dial(t)
	c.get("/a")
	c.wants("/a", true, false)
	conn := s.raw(t)
	io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400") {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	if err := <-failed; !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("the failure is %v", err)
	}
}

// A client cannot take the places of others, and those that wait get theirs in turn.
func TestTheGateIsFair(t *testing.T) {
	g := newGate()
	g.most, g.perClient = 4, 2
	soon := time.Now().Add(patience)
	at := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 32) }
	for range 2 {
		if !g.enter(at(1), soon) {
			t.Fatal("no place in an empty gate")
		}
	}
	if g.enter(at(1), time.Now()) {
		t.Error("a client has more than its share")
	}
	for range 2 {
		if !g.enter(at(2), soon) {
			t.Fatal("a client took the places of another")
		}
	}
	order := make(chan byte, 10)
	wait := func(client byte, before int) {
		go func() {
			if g.enter(at(client), soon) {
				order <- client
			}
		}()
		eventually(t, func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			waiting := 0
			for _, s := range g.clients {
				waiting += s.waiting.Len()
			}
			return waiting == before+1
		})
	}
	for n, client := range []byte{3, 3, 3, 4} {
		wait(client, n)
	}
	var got []byte
	for _, client := range []byte{1, 1, 2, 2} {
		g.leave(at(client))
		if len(got) < 3 { // the third of client 3 waits for one of its own
			got = append(got, <-order)
		}
	}
	if string(got) != "\x03\x04\x03" {
		t.Errorf("places were given to %v", got)
	}
	g.leave(at(3))
	if client := <-order; client != 3 {
		t.Errorf("a place was given to %d", client)
	}
	for _, client := range []byte{3, 3, 4} {
		g.leave(at(client))
	}
	if len(g.clients) > 0 || g.busy != 0 || g.turn.Len() > 0 {
		t.Errorf("afterwards there are %d clients, %d busy", len(g.clients), g.busy)
	}
}

func TestAClosedGateLetsNobodyWait(t *testing.T) {
	g := newGate()
	g.most, g.perClient = 1, 1
	soon := time.Now().Add(patience)
	if !g.enter(netip.Prefix{}, soon) {
		t.Fatal("no place in an empty gate")
	}
	got := make(chan bool)
	go func() { got <- g.enter(netip.Prefix{}, soon) }()
	eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.clients[netip.Prefix{}].waiting.Len() == 1
	})
	g.close()
	if <-got || g.enter(netip.Prefix{}, soon) {
		t.Error("a place in a closed gate")
	}
	g.leave(netip.Prefix{})
	if len(g.clients) > 0 {
		t.Error("somebody is left")
	}
}

// A client that is refused reads why, though it has sent its request already (T31): with TLS 1.3 it believes the handshake to
// be done by then.
func TestARefusedClientReadsWhy(t *testing.T) {
	s := &site{entered: make(chan string, 100), leave: make(chan struct{})}
	close(s.leave)
	s.over = securely(t, tls.VersionTLS13)
	s.over.server.ClientAuth = tls.RequireAndVerifyClientCert
	s.Server = New(&http.Server{Handler: http.HandlerFunc(s.handle)}, func(*http.Request) bool { return true })
	s.UseTLS(TLS{Config: s.over.server})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	for range 300 {
		conn, err := tls.Dial("tcp", l.Addr().String(), s.over.client)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // if the server was gone, the second one would find out
			if _, err := io.WriteString(conn, "GET /"); err != nil {
				t.Fatalf("a request that comes with the refusal: %v", err)
			}
		}
		if _, err = conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("a client without a certificate reads %v", err)
		}
		conn.Close()
	}
	s.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
