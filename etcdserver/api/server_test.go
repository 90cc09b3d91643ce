package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"canopy/internal/dialtest"
	"canopy/internal/httpserver"
	"canopy/internal/httpserver/http1"
	"canopy/store"
)

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// site is a handler behind a real listener, around a real store.
type site struct {
	t       *testing.T
	member  *soloMember
	handler *Handler
	server  *http1.Server
	addr    string
}

func newSite(t *testing.T, o Options, l httpserver.Options) *site {
	t.Helper()
	return newSiteOf(t, newSoloMember(store.Options{}), o, l)
}

func newSiteOf(t *testing.T, m *soloMember, o Options, l httpserver.Options) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, member: m, handler: New(m, o), addr: listener.Addr().String()}
	budget := httpserver.NewBudget(0, nil, nil)
	if o.Memory != nil {
		budget.Bound(o.Memory, httpserver.ConnectionBytes)
		l.Memory = o.Memory
	}
	if l.ConnState == nil {
		l.ConnState = budget.ConnState
	}
	if l.Fast == nil {
		l.Fast = IsFast
	}
	s.server = httpserver.New(s.handler, l)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.server.Serve(budget.Listener(listener))
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.handler.Close(ctx); err != nil {
			t.Errorf("watches are left: %v", err)
		}
		s.server.Close()
		<-served
	})
	return s
}

// reply holds the parts of an answer that tests check.
type reply struct {
	status int
	header http.Header
	body   string
	length int64
}

// do sends a request with the fields of a form, or with none.
func (s *site) do(method, target, form string) reply {
	s.t.Helper()
	header := http.Header{}
	if form != "" {
		header.Set("Content-Type", formType)
	}
	return s.send(method, target, header, strings.NewReader(form))
}

func (s *site) send(method, target string, header http.Header, body io.Reader) reply {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr, body)
	if err != nil {
		s.t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	plain, err := url.PathUnescape(path)
	if err != nil {
		s.t.Fatal(err)
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = plain, path, query
	req.Header = header
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: after status %d: %v", method, target, resp.StatusCode, err)
	}
	return reply{resp.StatusCode, resp.Header, string(text), resp.ContentLength}
}

// wants checks status and body of a request.
func (s *site) wants(method, target, form string, status int, body string) reply {
	s.t.Helper()
	a := s.do(method, target, form)
	if a.status != status || a.body != body {
		s.t.Errorf("%s %s %s = %d %q, want %d %q", method, target, form, a.status, a.body, status, body)
	}
	return a
}

// dial opens a connection and writes to it.
func (s *site) dial(text string) net.Conn {
	s.t.Helper()
	return dialtest.Dial(s.t, s.addr, text, patience)
}

// open sends a GET and returns its answer as soon as the headers are there.
func (s *site) open(target string) (*http.Response, *bufio.Reader, net.Conn) {
	s.t.Helper()
	conn := s.dial("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatalf("GET %s: %v", target, err)
	}
	return resp, bufio.NewReader(resp.Body), conn
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
