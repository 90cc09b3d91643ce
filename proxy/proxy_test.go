package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/etcdserver/api"
	"canopy/internal/disk"
	"canopy/internal/httpserver"
	"canopy/internal/tlsconf"
	"canopy/proxy/clustertest"
	"canopy/proxy/upstream"
)

// site is a proxy behind a real listener.
type site struct {
	*Proxy
	t    testing.TB
	url  string
	addr string
	log  *clustertest.Log
	stop func()
}

// newSite runs a proxy that finds its cluster by these peer URLs. adjust may change the options.
func newSite(t testing.TB, peers []string, adjust ...func(*Options)) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newSiteOn(t, listener, peers, adjust...)
}

func newSiteOn(t testing.TB, listener net.Listener, peers []string, adjust ...func(*Options)) *site {
	t.Helper()
	s := &site{t: t, addr: listener.Addr().String(), url: "http://" + listener.Addr().String(), log: &clustertest.Log{}}
	o := Options{Options: upstream.Options{
		FS: disk.NewMem(), Dir: "/data/proxy", Peers: func(context.Context) ([]string, error) { return peers, nil },
		FailureWait: 200 * time.Millisecond, RefreshInterval: time.Minute, Log: s.log.Logger(),
	}}
	if certificates != nil {
		o.TLS, o.ExplainTLS = certificates.Handshake, tlsconf.Fault
	}
	for _, each := range adjust {
		each(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Proxy = p
	s.run(listener)
	return s
}

// run serves until the test ends, or stop is called.
func (s *site) run(listener net.Listener) {
	budget := httpserver.NewBudget(0, nil, nil)
	server := httpserver.New(s.Proxy, httpserver.Options{ConnState: budget.ConnState, Fast: api.IsShort})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { server.Serve(budget.Listener(listener)) })
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		closing, done := context.WithTimeout(context.Background(), clustertest.Patience)
		defer done()
		if err := s.Close(closing); err != nil {
			s.t.Errorf("watches are left: %v", err)
		}
		cancel()
		server.Close()
		all.Wait()
	})
	s.t.Cleanup(func() {
		s.stop()
		if s.t.Failed() {
			s.t.Logf("log of the proxy:\n%s", s.log)
		}
	})
}

// await waits until the proxy knows this many available endpoints.
func (s *site) await(n int) *site {
	s.t.Helper()
	clustertest.Eventually(s.t, fmt.Sprintf("%d endpoints", n), func() bool { return len(s.available()) == n })
	return s
}

// available gives the available endpoints, the first choice first.
func (s *site) available() []string {
	s.t.Helper()
	var answer struct{ Endpoints []string }
	if err := json.Unmarshal([]byte(s.get(pathEndpoints).body), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer.Endpoints
}

// answer is the answer that a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) get(target string) answer { s.t.Helper(); return s.do("GET", target, "") }

// do sends a request with the fields of a form, or with none.
func (s *site) do(method, target, form string) answer {
	s.t.Helper()
	a, err := send(method, s.url+target, form)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

// bare follows no redirects, and shares no connections with other tests.
var bare = &http.Client{
	Timeout:       clustertest.Patience,
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func send(method, url, form string) (answer, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(form))
	if err != nil {
		return answer{}, err
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return receive(request)
}

func receive(request *http.Request) (answer, error) {
	response, err := bare.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

// raw is a server that does what net/http does not do: it reads a request and writes a given text, or nothing.
type raw struct {
	url      string
	mu       sync.Mutex // guards requests
	requests []string
}

// newRaw answers each request, after head and body, with the result of the function. Then it closes the connection, unless
// the result was an answerText. It answers probes successfully.
func newRaw(t testing.TB, answer func(request string) string) *raw {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &raw{url: "http://" + listener.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(conn, answer) })
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return s
}

func (s *raw) serve(conn net.Conn, answer func(string) string) {
	defer conn.Close()
	var text bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &text))
	for {
		text.Reset()
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, request.Body)
		if request.URL.Path == "/version" || request.URL.Path == "/health" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}")
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, text.String())
		s.mu.Unlock()
		reply := answer(text.String())
		io.WriteString(conn, reply)
		if !strings.Contains(reply, scripted) {
			return
		}
	}
}

func (s *raw) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// scripted marks answers that keep the connection.
const scripted = "Scripted"

// answerText is an answer of a raw server that keeps the connection.
func answerText(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d "+scripted+"\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func TestKeysThroughAProxy(t *testing.T) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs()).await(3)
	if a := s.do("PUT", "/v2/keys/a%2Fb?prevExist=false", "value=1"); a.status != 201 || a.header.Get("X-Etcd-Index") == "" || a.header.Get("X-Etcd-Cluster-Id") == "" {
		t.Errorf("PUT = %+v", a)
	}
	if a := s.get("/v2/keys/a%2Fb"); a.status != 200 || !strings.Contains(a.body, `"key":"/a%2Fb"`) && !strings.Contains(a.body, `"key":"/a/b"`) {
		t.Errorf("GET = %+v", a)
	}
	direct, err := send("GET", cluster.Members[0].ClientURL+"/v2/members", "")
	if err != nil {
		t.Fatal(err)
	}
	if a := s.get("/v2/members"); a.body != direct.body {
		t.Errorf("members = %s, want %s", a.body, direct.body)
	}
	for _, each := range []struct {
		method, target, form string
		status               int
	}{
		{"HEAD", "/v2/keys/none", "", 404}, {"HEAD", "/v2/keys/", "", 200}, {"DELETE", "/v2/keys/none", "", 404},
		{"PATCH", "/v2/keys/x", "", 405}, {"POST", "/v2/keys/q", "value=1", 201}, {"OPTIONS", "/anything", "", 200},
		{"GET", "/version", "", 200}, {"GET", "/health", "", 200}, {"GET", "/nothing", "", 404}, {"GET", "/v2/keys/?x=%zz", "", 400},
		{"GET", pathHealth, "", 200}, {"GET", pathEndpoints, "", 200}, {"POST", pathEndpoints, "", 405}, {"GET", pathEndpoints + "/", "", 404}, {"GET", pathMetrics, "", 200},
		{"GET", "/v2/keys/?a=1;b=2", "", 400},
	} {
		if a := s.do(each.method, each.target, each.form); a.status != each.status {
			t.Errorf("%s %s = %d %s, want %d", each.method, each.target, a.status, a.body, each.status)
		}
	}
}

func TestOwnAnswers(t *testing.T) {
	peer, _ := clustertest.Start(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(418) })
	s := newSite(t, []string{peer}).await(1)
	a := s.get(pathEndpoints)
	if !strings.HasPrefix(a.body, `{"endpoints":["http://127.0.0.1:`) || !strings.HasSuffix(a.body, "\"]}\n") || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("P36: %+v", a)
	}
	s.do("POST", "/x", "")
	for _, line := range []string{`etcd_proxy_requests_total{method="POST"} 1`, `etcd_proxy_handled_total{code="418",method="POST"} 1`, `etcd_proxy_handling_duration_seconds_count{method="POST"} 1`} {
		if text := s.get(pathMetrics).body; !strings.Contains(text, line) {
			t.Errorf("S27: no %s in\n%s", line, text)
		}
	}
	reader := newSite(t, []string{peer}, func(o *Options) { o.Readonly = true }).await(1)
	for method, want := range map[string]int{"GET": 418, "HEAD": 418, "OPTIONS": 200, "PUT": 501, "POST": 501, "DELETE": 501, "PATCH": 501} {
		if a := reader.do(method, "/v2/keys/x", ""); a.status != want || want == 501 && a.body != "" {
			t.Errorf("P35: %s = %d %q, want %d", method, a.status, a.body, want)
		}
	}
}

func TestNoEndpointAnswers(t *testing.T) {
	s := newSite(t, []string{"http://127.0.0.1:1"})
	if a := s.get("/v2/keys/"); a.status != 503 || a.body != `{"message":"proxy: zero endpoints currently available"}` || a.header.Get("X-Etcd-Cluster-Id") != "" {
		t.Errorf("P34: %+v", a)
	}
	if a := s.get(pathHealth); a.status != 503 || s.get(pathEndpoints).body != "{\"endpoints\":[]}\n" {
		t.Errorf("P37: %+v", a)
	}
	silent := newRaw(t, func(string) string { return "" })
	s = newSite(t, []string{clustertest.Peer(t, 1, func() []string { return []string{silent.url} }).URL}).await(1)
	if a := s.get("/v2/keys/"); a.status != 502 || a.body != `{"message":"proxy: unable to get response from 1 endpoint(s)"}` {
		t.Errorf("P34: %+v", a)
	}
	if a := s.do("PUT", "/v2/keys/k", "value=1"); a.status != 502 || !strings.Contains(a.body, "the outcome is unknown") {
		t.Errorf("P23: %+v", a)
	}
}
