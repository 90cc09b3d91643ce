package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/discovery"
	"canopy/etcdserver"
	"canopy/internal/cuttest"
	"canopy/internal/disk"
	"canopy/internal/memory"
)

// newInside runs a store in memory until the end of the test.
func newInside(t *testing.T) *Inside {
	t.Helper()
	inside, err := OpenInside(disk.NewMem(), "/data", nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- inside.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the store: %v", err)
		}
	})
	return inside
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// The directory of a member of another cluster is refused.
func TestTheDirectoryOfAMember(t *testing.T) {
	fsys := disk.NewMem()
	member, err := etcdserver.Open(etcdserver.Options{
		FS: fsys, DataDir: "/data", Name: "m1", Log: quiet(),
		Bootstrap: func() (etcdserver.Bootstrap, error) {
			return etcdserver.Bootstrap{Cluster: map[string][]string{"m1": {"http://m1:2380"}}, Token: "other"}, nil
		},
		Transport: transport(quiet(), "http://m1:2380"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lock is free again
		if _, err := OpenInside(fsys, "/data", nil, quiet()); err == nil || !strings.Contains(err.Error(), "and not to a discovery service") {
			t.Errorf("OpenInside = %v", err)
		}
	}
}

// site is a service that listens on loopback.
type site struct {
	t       *testing.T
	service *Service
	url     string
}

// newSite serves until the end of the test. Without a store in o it has one of its own.
func newSite(t *testing.T, o Options) *site {
	t.Helper()
	if o.Store == nil {
		o.Store = newInside(t)
	}
	o.Registry, o.Log = prometheus.NewRegistry(), quiet()
	s := &site{t: t, service: New(o)}
	server := httptest.NewServer(s.service)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL
	return s
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (s *site) ask(method, path, form string) reply {
	s.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.url + path
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(form))
	if err != nil {
		s.t.Fatal(err)
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// token makes a token, and gives its path.
func (s *site) token(size int) string {
	s.t.Helper()
	r := s.ask("GET", fmt.Sprintf("/new?size=%d", size), "")
	if r.status != http.StatusOK {
		s.t.Fatalf("/new = %d %s", r.status, r.body)
	}
	return strings.TrimPrefix(r.body, s.url)
}

// Tokens are made like those of the public service (D30, D31); sizes that no
// cluster has are refused (R42).
func TestNewTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for _, tt := range []struct {
		method, query, form string
		status              int
		size                string
	}{
		{"GET", "?size=2", "", 200, "2"},
		{"PUT", "?size=31", "", 200, "31"},
		{"PUT", "", "size=5", 200, "5"},
		{"GET", "", "", 200, "3"},
		{"GET", "?size=0", "", 400, ""},
		{"GET", "?size=-1", "", 400, ""},
		{"GET", "?size=32", "", 400, ""},
		{"GET", "?size=1000000000", "", 400, ""},
		{"GET", "?size=abc", "", 400, ""},
		{"DELETE", "?size=3", "", 405, ""},
	} {
		r := s.ask(tt.method, "/new"+tt.query, tt.form)
		if r.status != tt.status {
			t.Errorf("%s /new%s = %d %s, want %d", tt.method, tt.query, r.status, r.body, tt.status)
			continue
		}
		if tt.status == 400 && r.body != "size must be a number from 1 to 31\n" {
			t.Errorf("%s /new%s = %q", tt.method, tt.query, r.body)
		}
		if tt.status != 200 {
			continue
		}
		if !regexp.MustCompile(`^`+regexp.QuoteMeta(s.url)+`/[0-9a-f]{32}$`).MatchString(r.body) || r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s /new%s = %q, %v", tt.method, tt.query, r.body, r.header)
		}
		size := s.ask("GET", r.body+"/_config/size", "")
		if size.status != 200 || !strings.Contains(size.body, `"value":"`+tt.size+`"`) || !strings.Contains(size.body, `"key":"/_etcd/registry/`) {
			t.Errorf("the size after %s /new%s is %d %s", tt.method, tt.query, size.status, size.body)
		}
	}
}

// Path and method decide whether the store gets a request (D32).
func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	token := s.token(3)
	unknown := "/" + strings.Repeat("0", 32)
	for _, tt := range []struct {
		method, path, form string
		status             int
		body               string // a part of it
	}{
		{"GET", token, "", 200, `"dir":true`},
		{"GET", token + "/", "", 200, `"dir":true`},
		{"PUT", token, "value=x", 403, `"errorCode":102`},
		{"DELETE", token, "", 405, ""},
		{"POST", token, "value=x", 405, ""},
		{"GET", token + "/_config/size", "", 200, `"value":"3"`},
		{"PUT", token + "/_config/size", "value=4", 405, ""},
		{"DELETE", token + "/_config/size", "", 405, ""},
		{"GET", token + "/_config", "", 404, "404 page not found"},
		{"PUT", token + "/_config", "value=x", 404, "404 page not found"},
		{"PUT", token + "/1a?prevExist=false", "value=m1%3Dhttp://a:1", 201, `"value":"m1=http://a:1"`},
		{"PUT", token + "/1a?prevExist=false", "value=m1%3Dhttp://a:1", 412, `"errorCode":105`},
		{"GET", token + "/1a", "", 200, `"value":"m1=http://a:1"`},
		{"PUT", token + "/1a", "value=m1%3Dhttp://a:2", 200, `"action":"set"`},
		{"DELETE", token + "/1a", "", 200, `"action":"delete"`},
		{"GET", token + "/1a", "", 404, `"errorCode":100`},
		{"GET", token + "/1a/x", "", 404, "404 page not found"},
		{"GET", unknown, "", 404, `"errorCode":100`},
		{"GET", unknown + "?wait=true&recursive=true", "", 404, `"errorCode":100`},
		{"GET", unknown + "/_config/size", "", 404, `"errorCode":100`},
		{"PUT", unknown + "/1a", "value=m1%3Dhttp://a:1", 404, `"errorCode":100`},
		{"GET", "/" + strings.Repeat("A", 32), "", 404, "404 page not found"},
		{"GET", "/" + strings.Repeat("a", 31), "", 404, "404 page not found"},
		{"GET", "/v2/keys/", "", 404, "404 page not found"},
		{"GET", token + "/../../../x", "", 404, "404 page not found"},
		{"GET", "/", "", 200, "A discovery service"},
		{"GET", "/robots.txt", "", 200, "User-agent: *\nDisallow: /"},
		{"GET", "/health", "", 200, "OK"},
		{"PUT", "/health", "", 405, ""},
	} {
		if r := s.ask(tt.method, tt.path, tt.form); r.status != tt.status || !strings.Contains(r.body, tt.body) {
			t.Errorf("%s %s = %d %s, want %d and %s", tt.method, tt.path, r.status, r.body, tt.status, tt.body)
		}
	}
	metrics := s.ask("GET", "/metrics", "").body
	for _, line := range []string{
		`endpoint_new_requests_total{code="200",method="get"} 1`, `endpoint_health_requests_total{code="200",method="get"} 1`,
		`endpoint_token_requests_total{code="404",method="put"} 1`, `endpoint_token_requests_total{code="412",method="put"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s:\n%s", line, metrics)
		}
	}
}

// A registration that would stop those that wait under a token is refused (D38, R42).
func TestInvalidRegistrations(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	token := s.token(5)
	put := func(key, form string) reply { return s.ask("PUT", token+"/"+key, form) }
	if r := put("1a", "value=m1%3Dhttp://a:1"); r.status != 201 {
		t.Fatalf("a good registration = %d %s", r.status, r.body)
	}
	for _, tt := range []struct {
		name, key, form string
		status          int
		text            string
	}{
		{"no value", "1b", "", 400, "does not name one member"},
		{"nonsense", "1b", "value=nonsense", 400, "is not name=URL"},
		{"no name", "1b", "value=%3Dhttp://b:1", 400, "is not name=URL"},
		{"two names", "1b", "value=m2%3Dhttp://b:1,m3%3Dhttp://b:2", 400, "does not name one member"},
		{"a key that is no ID", "hello", "value=m2%3Dhttp://b:1", 400, "is no member ID"},
		{"the ID 0", "0", "value=m2%3Dhttp://b:1", 400, "is no member ID"},
		{"the same ID in other words", "01a", "value=m2%3Dhttp://b:1", 409, "another key has this ID"},
		{"a name that is taken", "1b", "value=m1%3Dhttp://b:1", 409, "member with duplicated name"},
		{"a URL that is taken", "1b", "value=m2%3Dhttp://b:1,m2%3Dhttp://a:1", 409, "one of these URLs"},
		{"a large value", "1b", "value=m2%3Dhttp://b:1" + strings.Repeat(",m2%3Dhttp://b:1", 300), 413, "too large"},
		{"a larger one", "1b", "value=" + strings.Repeat("x", bodyMax), 400, "too large"},
		{"a time to live", "1b", "value=m2%3Dhttp://b:1&ttl=5", 400, "a registration has no ttl"},
		{"a directory", "1b", "dir=true", 400, "a registration has no dir"},
	} {
		if r := put(tt.key, tt.form); r.status != tt.status || !strings.Contains(r.body, tt.text) {
			t.Errorf("%s: %d %s, want %d and %s", tt.name, r.status, r.body, tt.status, tt.text)
		}
	}
	for _, query := range []string{"ttl=1&prevExist=true&dir=true", "refresh=true&ttl=1"} {
		if r := s.ask("PUT", token+"?"+query, ""); r.status != 400 {
			t.Errorf("PUT of the token with %s = %d %s", query, r.status, r.body)
		}
	}
	for n := range registrationsMax - 1 {
		if r := put(fmt.Sprintf("b%d", n), fmt.Sprintf("value=x%d%%3Dhttp://x%d:1", n, n)); r.status != 201 {
			t.Fatalf("registration %d = %d %s", n, r.status, r.body)
		}
	}
	if r := put("1c", "value=last%3Dhttp://last:1"); r.status != 409 || !strings.Contains(r.body, "too many processes") {
		t.Errorf("one registration too many = %d %s", r.status, r.body)
	}
}

// Two processes register one name at the same time: one gets it.
func TestConcurrentRegistrations(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	token := s.token(31)
	statuses := make(chan int)
	for n := range 20 {
		go func() {
			statuses <- s.ask("PUT", fmt.Sprintf("%s/%x", token, n+1), fmt.Sprintf("value=same%%3Dhttp://h%d:1", n)).status
		}()
	}
	let := 0
	for range 20 {
		if <-statuses == 201 {
			let++
		}
	}
	if let != 1 {
		t.Errorf("%d of 20 registrations with one name were let in", let)
	}
}

// The processes of a cluster find each other through the service.
func TestProcessesJoinThroughTheService(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{TokenTTL: time.Hour, Rate: 1000})
	token, err := discovery.ParseToken(s.url + s.token(3))
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		peers []discovery.Peer
		err   error
	}
	done := make(chan outcome)
	for n := range 3 {
		fsys := disk.NewMem()
		o := discovery.Options{Token: token, Name: fmt.Sprintf("m%d", n), PeerURLs: []string{fmt.Sprintf("http://m%d:2380", n)}, FS: fsys, Dir: "/", Log: quiet(),
			IDOf: func(urls []string, _ string) uint64 { return uint64(urls[0][8]) }}
		go func() {
			peers, err := discovery.Join(t.Context(), o)
			done <- outcome{peers, err}
		}()
	}
	for range 3 {
		if o := <-done; o.err != nil || len(o.peers) != 3 {
			t.Errorf("Join = %v, %v", o.peers, o.err)
		}
	}
}

// Whatever is left of the TTL of a token, which the store tells in whole seconds:
// it is renewed, or outlasts the longest wait by an eighth of it.
func TestATokenOutlastsAWait(t *testing.T) {
	for ttl := time.Second; ttl < time.Minute; ttl += time.Second {
		s := &Service{o: Options{TokenTTL: ttl}}
		for left := time.Millisecond; left <= ttl; left += time.Millisecond {
			told := (left + time.Second - 1).Truncate(time.Second)
			if !renewalDue(told, ttl) && left-s.waitMax() < ttl/8 {
				t.Fatalf("of %v %v are left, told as %v, and not renewed before a wait of %v", ttl, left, told, s.waitMax())
			}
		}
	}
	if renewalDue(0, 0) {
		t.Error("a token without a TTL is renewed")
	}
}

// An unused token expires after its TTL; one that is in use stays, and a wait
// under it is not disturbed (D38).
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	inside := newInside(t)
	s := newSite(t, Options{Store: inside, TokenTTL: ttl})
	unused, used := s.token(3), s.token(3)
	stop := make(chan struct{})
	waited := make(chan reply)
	go func() {
		for {
			select {
			case waited <- s.ask("GET", used+"?wait=true&recursive=true", ""):
			case <-stop:
				close(waited)
				return
			}
		}
	}()
	began := time.Now()
	for time.Since(began) < 2*ttl {
		if r := <-waited; r.status != 200 || r.body != "" {
			t.Fatalf("a wait ended with %d %s, want an empty answer", r.status, r.body)
		}
	}
	close(stop)
	if r := s.ask("GET", unused, ""); r.status != 404 {
		t.Errorf("a token that nobody asked for for %v is there: %d %s", 2*ttl, r.status, r.body)
	}
	r := s.ask("GET", used, "")
	var said struct{ Node struct{ TTL int } }
	if err := json.Unmarshal([]byte(r.body), &said); err != nil || r.status != 200 || said.Node.TTL <= 0 {
		t.Errorf("a token that was waited for is %d %s, %v", r.status, r.body, err)
	}
	for range waited {
	}
}

// watched is a store that signals waits.
type watched struct {
	http.RoundTripper
	begun, ended chan struct{}
}

func (s watched) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("wait") == "true" {
		close(s.begun)
		context.AfterFunc(r.Context(), func() { close(s.ended) })
	}
	return s.RoundTripper.RoundTrip(r)
}

// A wait ends with the change; when the client leaves, the request to the store ends.
func TestWaitsPassThrough(t *testing.T) {
	t.Parallel()
	store := watched{newInside(t), make(chan struct{}), make(chan struct{})}
	s := newSite(t, Options{Store: store.RoundTripper})
	token := s.token(2)
	s.ask("PUT", token+"/1a", "value=m1%3Dhttp://a:1")
	registered := s.ask("GET", token, "").header.Get("X-Etcd-Index")
	if r := s.ask("GET", token+"?wait=true&recursive=true&waitIndex="+registered, ""); r.status != 200 || !strings.Contains(r.body, `"value":"m1=http://a:1"`) {
		t.Errorf("the wait for a registration = %d %s", r.status, r.body)
	}
	s.service.o.Store, s.service.pass.Transport = store, store
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "GET", s.url+token+"?wait=true&recursive=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			_, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		gone <- err
	}()
	<-store.begun
	leave()
	if err := <-gone; err == nil {
		t.Error("a wait that was given up has ended well")
	}
	<-store.ended
}

// The limits apply to each address separately (D38).
func TestLimits(t *testing.T) {
	refused := 0
	s := newSite(t, Options{Rate: 2, Forwarded: true, Store: nowhere{}})
	from := func(address string) int {
		request := httptest.NewRequest("GET", "/robots.txt", nil)
		request.Header.Set("X-Forwarded-For", "1.2.3.4, "+address)
		w := httptest.NewRecorder()
		s.service.ServeHTTP(w, request)
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("nothing says when to come back")
		}
		return w.Code
	}
	for range 30 {
		if from("10.0.0.1") == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 15 || refused > 20 {
		t.Errorf("%d of 30 requests at once were refused, want those after the first 10", refused)
	}
	if from("10.0.0.2") != 200 {
		t.Error("another address was refused")
	}
	for n := range 30 {
		from(fmt.Sprintf("2001:db8::%x", n+1))
	}
	if from("2001:db8::ffff") != http.StatusTooManyRequests {
		t.Error("another address of the same IPv6 network was let through")
	}
	if from("nonsense") != 200 {
		t.Error("who cannot be told apart was refused")
	}
}

func TestTheTableOfAddressesIsBounded(t *testing.T) {
	l := newLimiter(1, 10)
	for n := range uint32(5 * addressesMax) {
		l.allow(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32))
	}
	if known := len(l.now) + len(l.old); known > 2*addressesMax {
		t.Errorf("%d addresses are remembered, want at most %d", known, 2*addressesMax)
	}
}

// One address may have this many waits open; each that ends makes room.
func TestTheLimitOfWaits(t *testing.T) {
	w := newWaiters(math.MaxInt64)
	one, other := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	for range waitsMax {
		if !w.enter(one) {
			t.Fatal("a wait is refused before the limit")
		}
	}
	if w.enter(one) || !w.enter(other) {
		t.Error("the limit does not hold, or holds for others")
	}
	w.leave(one)
	if !w.enter(one) {
		t.Error("a wait that has ended makes no room")
	}
	for range waitsMax {
		w.leave(one)
	}
	if w.leave(other); len(w.open) != 0 {
		t.Errorf("addresses are remembered without waits: %v", w.open)
	}
}

// Waits of one address take at most a quarter of the memory.
func TestWaitsLeaveMemoryToOthers(t *testing.T) {
	for memory, most := range map[int64]int{1: 1, 8 << 20: 16, 16 << 20: 32, 1 << 40: waitsMax} {
		if w := newWaiters(memory); w.most != most {
			t.Errorf("with %d bytes, one address may wait %d times, want %d", memory, w.most, most)
		}
	}
}

// There is memory for one request, whose body does not end. Others must come back, except those of operators.
func TestWithoutMemoryRequestsAreRefused(t *testing.T) {
	t.Parallel()
	budget := memory.New(requestBytes*3/2, nil)
	s := newSite(t, Options{Memory: budget})
	token := s.token(3)
	body, end := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+token+"/1", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answered := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			err = response.Body.Close()
		}
		answered <- err
	}()
	if _, err := io.WriteString(end, "value=m1"); err != nil {
		t.Fatal(err)
	}
	for budget.Used() == 0 {
		runtime.Gosched() // the request is being sent
	}
	if r := s.ask("GET", token, ""); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("a request without memory = %d %v %s", r.status, r.header, r.body)
	}
	for _, path := range []string{"/health", "/metrics"} {
		if r := s.ask("GET", path, ""); r.status != 200 {
			t.Errorf("%s without memory = %d %s", path, r.status, r.body)
		}
	}
	if _, err := io.WriteString(end, "%3Dhttp://a:1"); err != nil {
		t.Fatal(err)
	}
	end.Close()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for budget.Used() > 0 {
		runtime.Gosched() // memory is given back after the answer
	}
	if r := s.ask("GET", token, ""); r.status != 200 || !strings.Contains(r.body, "m1=http://a:1") {
		t.Errorf("with memory again = %d %s", r.status, r.body)
	}
}

// Tokens have a limit apart from other requests.
func TestTheLimitOfNewTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{NewRate: 6})
	made := 0
	for range 15 {
		if s.ask("GET", "/new", "").status == 200 {
			made++
		}
	}
	if made != 10 || s.ask("GET", "/robots.txt", "").status != 200 {
		t.Errorf("%d of 15 tokens were made at once, want 10, and other requests go on", made)
	}
}

// nowhere is an unreachable store.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// Without a store every request for it is answered 503, in the form of the API (D36).
func TestTheStoreIsUnavailable(t *testing.T) {
	s := newSite(t, Options{Store: nowhere{}})
	token := "/" + strings.Repeat("a", 32)
	for _, tt := range [][3]string{
		{"GET", token, ""}, {"GET", token + "?wait=true", ""}, {"GET", token + "/_config/size", ""}, {"PUT", token + "/1a", "value=m1%3Dhttp://a:1"},
		{"DELETE", token + "/1a", ""}, {"GET", "/health", ""},
	} {
		if r := s.ask(tt[0], tt[1], tt[2]); r.status != 503 || !strings.HasPrefix(r.body, `{"message":"`) {
			t.Errorf("%s %s = %d %s", tt[0], tt[1], r.status, r.body)
		}
	}
	if r := s.ask("GET", "/new", ""); r.status != 503 || r.body != "Unable to generate token\n" {
		t.Errorf("/new = %d %s", r.status, r.body)
	}
}

// URLs of tokens are those by which the service is reached (D35, D38).
func TestTheBaseOfURLs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		header  string
		want    string
	}{
		{"as asked", Options{}, "", "http://example.com"},
		{"as told", Options{Host: "https://disco.example/"}, "", "https://disco.example"},
		{"a header that nobody trusts", Options{}, "https", "http://example.com"},
		{"as the proxy in front says", Options{Forwarded: true}, "https", "https://example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := httptest.NewRequest("GET", "/new", nil)
			request.Header.Set("X-Forwarded-Proto", tt.header)
			if got := (&Service{o: tt.options}).base(request); got != tt.want {
				t.Errorf("base = %q, want %q", got, tt.want)
			}
		})
	}
}

// An incomplete request makes no token, and neither adds nor removes a registration.
func TestNothingIsDoneForACutRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	token := s.token(3)
	if r := s.ask("PUT", token+"/1a", "value=m1%3Dhttp://a:1"); r.status != 201 {
		t.Fatalf("a registration = %d %s", r.status, r.body)
	}
	addr := strings.TrimPrefix(s.url, "http://")
	for _, target := range []struct{ method, path string }{{"PUT", token + "/1b?value=m2%3Dhttp://b:1"}, {"DELETE", token + "/1a"}, {"POST", "/new?size=3"}, {"GET", "/new?size=3"}} {
		for _, r := range cuttest.Requests(target.method, target.path) {
			for _, n := range r.Cuts() {
				if a := r.Cut(t, addr, n); !cuttest.IsRefused(a) {
					t.Errorf("%s, cut after %d bytes: %s", r.Name, n, a)
				}
			}
		}
	}
	if r := s.ask("GET", token, ""); !strings.Contains(r.body, "/1a") || strings.Contains(r.body, "/1b") {
		t.Errorf("cut requests have changed something: %s", r.body)
	}
}
