package httpserver

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"canopy/internal/httpserver/http1"
	"canopy/internal/memory"
	"canopy/internal/tlsconf/certtest"
)

// secured gives TLS for both sides.
func secured(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	authority := certtest.NewAuthority(t, "ca")
	server = &tls.Config{Certificates: []tls.Certificate{authority.Pair()}}
	return server, &tls.Config{RootCAs: authority.Pool(), ServerName: "127.0.0.1"}
}

// dialTLS opens a connection with TLS and writes to it.
func (s *site) dialTLS(config *tls.Config, protocol, text string) *tls.Conn {
	s.t.Helper()
	config = config.Clone()
	config.NextProtos = []string{protocol}
	conn := tls.Client(s.dial(""), config)
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
		s.t.Fatalf("the protocol is %q, want %q", got, protocol)
	}
	return conn
}

// A header counts decrypted, by its lines.
func TestHeadersAreCountedOverTLS(t *testing.T) {
	server, client := secured(t)
	budget := memory.New(1<<30, nil)
	connections := NewBudget(0, nil, nil)
	connections.Bound(budget, ConnectionBytes)
	s := newSite(t, connections, Options{Memory: budget, ConnState: connections.ConnState, TLS: server})
	conn := s.dialTLS(client, "http/1.1", "GET /v2/keys HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat("a:\r\n", 10_000))
	eventually(t, "the header to be counted", func() bool { return budget.Used() >= 10_000*headerLineBytes })
	if _, err := io.WriteString(conn, "\r\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 200 {
		t.Fatalf("the request = %v, %v", response, err)
	}
	eventually(t, "only the connection to count", func() bool { return budget.Used() == ConnectionBytes })
	conn.Close()
	eventually(t, "nothing to be left", func() bool { return budget.Used() == 0 })
}

// Frames of HTTP/2 are seen decrypted: their memory counts, and their pace is measured.
func TestHTTP2IsBoundedOverTLS(t *testing.T) {
	server, client := secured(t)
	budget := memory.New(1<<30, nil)
	connections := NewBudget(0, nil, nil)
	connections.Bound(budget, ConnectionBytes)
	s := newSite(t, connections, Options{Memory: budget, ConnState: connections.ConnState, TLS: server})
	const ping = 6
	conn := s.dialTLS(client, "h2", preface+string(frameOf(4, 0))+string(frameOf(ping, 8)))
	eventually(t, "HTTP/2 to be counted", func() bool { return budget.Used() == ConnectionBytes+http2Bytes })
	conn.Close()
	eventually(t, "nothing to be left", func() bool { return budget.Used() == 0 })
}

// An idle connection with TLS can be closed for a new one, and a Pool knows its connections.
func TestBoundsKnowConnectionsWithTLS(t *testing.T) {
	server, client := secured(t)
	var idle atomic.Int64
	b := NewBudget(1, func(wasIdle bool) {
		if wasIdle {
			idle.Add(1)
		}
	}, nil)
	s := newSite(t, b, Options{ConnState: b.ConnState, TLS: server, Fast: func(*http.Request) bool { return true }})
	const get = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first := s.dialTLS(client, "http/1.1", get)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection to be idle", func() bool { return b.countIdle() == 1 })
	second := s.dialTLS(client, "http/1.1", get)
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Fatal(err)
	}
	if idle.Load() != 1 {
		t.Errorf("%d idle connections were closed, want 1", idle.Load())
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection is still open")
	}

	p := NewPool(PoolOptions{Most: 1, Timeout: patience})
	listener, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan bool, 1)
	pooled := New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(pooledKey{}).(*pooledConn)
		LeavePool(r.Context())
		found <- c != nil && c.at == nil && c.late == nil && r.TLS != nil
	}), Options{ConnState: p.ConnState, ConnContext: PoolContext, TLS: server})
	served := make(chan struct{})
	go func() {
		defer close(served)
		pooled.Serve(p.Listener(listener))
	}()
	defer func() {
		pooled.Close()
		<-served
	}()
	(&site{t: t, addr: listener.Addr().String()}).dialTLS(client, "http/1.1", get)
	if !<-found {
		t.Error("the pool does not know the connection of a request over TLS")
	}
}

// Without HTTP/2 it is not offered, and a failed handshake is told with the connection's address.
func TestOptionsOfTLS(t *testing.T) {
	server, client := secured(t)
	failed := make(chan error, 1)
	s := newSite(t, NewBudget(0, nil, nil), Options{TLS: server, HTTP2Disabled: true, HandshakeFailed: func(c net.Conn, err error) {
		if c.RemoteAddr() == nil {
			t.Error("no address")
		}
		failed <- err
	}})
	client.NextProtos = []string{"h2", "http/1.1"}
	conn := tls.Client(s.dial(""), client)
	if err := conn.Handshake(); err != nil || conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("the protocol is %q, %v", conn.ConnectionState().NegotiatedProtocol, err)
	}
	s.dial("GET / HTTP/1.1\r\n\r\n")
	if err := <-failed; err != http1.ErrPlainHTTP {
		t.Errorf("the failure is %v", err)
	}
}
