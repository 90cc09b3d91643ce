package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"canopy/client/membertest"
	"canopy/internal/dialtest"
	"canopy/proxy/clustertest"
	"canopy/proxy/upstream"
)

// exchange writes raw bytes to the proxy, and reads up to this many answers.
func (s *site) exchange(text string, answers int) (statuses []int) {
	s.t.Helper()
	conn := s.dial(text)
	r := bufio.NewReader(conn)
	for range answers {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		io.Copy(io.Discard, response.Body)
		statuses = append(statuses, response.StatusCode)
	}
	return statuses
}

func (s *site) dial(text string) net.Conn {
	s.t.Helper()
	return dialtest.Dial(s.t, s.addr, text, clustertest.Patience)
}

// newRawSite is a proxy in front of one raw server.
func newRawSite(t testing.TB, answer func(string) string) (*site, *raw) {
	t.Helper()
	member := newRaw(t, answer)
	peer := clustertest.Peer(t, 1, func() []string { return []string{member.url} }).URL
	return newSite(t, []string{peer}).await(1), member
}

func TestRequestsArriveUnchanged(t *testing.T) {
	s, member := newRawSite(t, func(string) string { return answerText(200, "ok") })
	for name, each := range map[string]struct{ sent, want string }{
		"P21: path, query and Host": {
			"GET /v2/keys/a%2Fb//../%7e?x=1&y=%20&y;z HTTP/1.1\r\nHost: keys.example:99\r\n\r\n",
			"GET /v2/keys/a%2Fb//../%7e?x=1&y=%20&y;z HTTP/1.1\nHost: keys.example:99\nX-Forwarded-For: 127.0.0.1\n\n",
		},
		"P21: any method": {
			"PURGE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
			"PURGE /x HTTP/1.1\nHost: h\nX-Forwarded-For: 127.0.0.1\nContent-Length: 2\n\nhi",
		},
		"P24, R113: hop headers, and those that Connection names": {
			"DELETE /x HTTP/1.1\r\nHost: h\r\nConnection: X-Secret, close\r\nConnection: x-other\r\nX-Secret: 1\r\nX-Other: 2\r\nKeep-Alive: 5\r\nTe: trailers\r\n" +
				"Upgrade: websocket\r\nProxy-Authorization: a\r\nProxy-Connection: a\r\nTrailers: a\r\nAuthorization: Basic eA==\r\nAccept-Encoding: br\r\n\r\n",
			"DELETE /x HTTP/1.1\nHost: h\nAccept-Encoding: br\nAuthorization: Basic eA==\nX-Forwarded-For: 127.0.0.1\nContent-Length: 0\n\n",
		},
		"P25: several headers become one": {
			"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n\r\n",
			"GET /x HTTP/1.1\nHost: h\nX-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1\n\n",
		},
		"R113: Connection does not hide where a request comes from": {
			"GET /x HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For, X-Canopy-Proxies\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
			"GET /x HTTP/1.1\nHost: h\nX-Forwarded-For: 1.2.3.4, 127.0.0.1\n\n",
		},
		"R113: Expect is answered here": {
			"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nv=1",
			"PUT /x HTTP/1.1\nHost: h\nX-Forwarded-For: 127.0.0.1\nContent-Length: 3\n\nv=1",
		},
		"R113: Expect without a body": {
			"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
			"PUT /x HTTP/1.1\nHost: h\nX-Forwarded-For: 127.0.0.1\nContent-Length: 0\n\n",
		},
		"a chunked body that is small": {
			"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
			"PUT /x HTTP/1.1\nHost: h\nX-Forwarded-For: 127.0.0.1\nContent-Length: 3\n\nabc",
		},
		"an absolute URL": {
			"GET http://h:1/x?y HTTP/1.1\r\nHost: other\r\n\r\n",
			"GET /x?y HTTP/1.1\nHost: h:1\nX-Forwarded-For: 127.0.0.1\n\n",
		},
		"repeated headers stay repeated": {
			"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
			"GET /x HTTP/1.1\nHost: h\nX-A: 1\nX-A: 2\nX-Forwarded-For: 127.0.0.1\n\n",
		},
	} {
		before := len(member.seen())
		if got := s.exchange(each.sent, 1); !slices.Equal(got, []int{200}) && !slices.Equal(got, []int{100}) {
			t.Errorf("%s: answered %v", name, got)
		}
		clustertest.Eventually(t, "the request", func() bool { return len(member.seen()) > before })
		if diff := cmp.Diff(each.want, normal(member.seen()[before])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := s.exchange("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 1); !slices.Equal(got, []int{400}) {
		t.Errorf("CONNECT = %v", got)
	}
}

// normal gives a request with sorted headers between Host and those of the body, and without what differs each time.
func normal(request string) string {
	head, body, _ := strings.Cut(request, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, upstream.HeaderProxies) })
	rank := func(line string) string {
		if strings.HasPrefix(line, "Content-Length") || strings.HasPrefix(line, "X-Forwarded") {
			return "~" + fmt.Sprint(strings.HasPrefix(line, "X-")) + line
		}
		return line
	}
	slices.SortStableFunc(lines[2:], func(a, b string) int {
		order := func(l string) int {
			switch {
			case strings.HasPrefix(l, "X-Forwarded"):
				return 1
			case strings.HasPrefix(l, "Content-Length"):
				return 2
			}
			return 0
		}
		if d := order(a) - order(b); d != 0 {
			return d
		}
		return strings.Compare(strings.SplitN(rank(a), ":", 2)[0], strings.SplitN(rank(b), ":", 2)[0])
	})
	return strings.Join(lines, "\n") + "\n\n" + body
}

func TestAnswersArriveUnchanged(t *testing.T) {
	text := ""
	s, _ := newRawSite(t, func(string) string { return text })
	for name, each := range map[string]struct {
		text   string
		status int
		header http.Header
		body   string
	}{
		"P26: headers":               {"HTTP/1.1 201 Made\r\nX-A: 1\r\nX-A: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok", 201, http.Header{"X-A": {"1", "2"}, "Content-Length": {"2"}}, "ok"},
		"no type is guessed":         {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 200, http.Header{"Content-Length": {"6"}}, "<html>"},
		"chunks":                     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 200, http.Header{}, "ab"},
		"to the end":                 {"HTTP/1.1 200 OK\r\n\r\nuntil it closes", 200, http.Header{}, "until it closes"},
		"none":                       {"HTTP/1.1 204 No Content\r\n\r\n", 204, http.Header{}, ""},
		"after others":               {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answerText(200, "x"), 200, http.Header{"Content-Length": {"1"}}, "x"},
		"nobody asked for this":      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", 502, nil, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
		"garbage":                    {"SSH-2.0-OpenSSH\r\n", 502, nil, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
		"endless others":             {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), 502, nil, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
		"a head without end":         {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 2000), 502, nil, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
		"a redirect is passed on":    {"HTTP/1.1 307 T\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", 307, http.Header{"Location": {"/there"}, "Content-Length": {"0"}}, ""},
		"a short answer that is cut": {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 502, nil, `{"message":"proxy: unable to get response from 1 endpoint(s)"}`},
	} {
		text = each.text
		a := s.get("/x")
		a.header.Del("Date")
		if each.header == nil {
			a.header = nil
		}
		if diff := cmp.Diff(answer{each.status, each.header, each.body}, a, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if a := s.available(); len(a) != 1 {
		t.Errorf("P17: answers that were none took the only endpoint out: %v", a)
	}
}

// A long answer that breaks is cut, so that no client takes it for a complete one (R113).
func TestACutAnswerIsCut(t *testing.T) {
	for name, head := range map[string]string{
		"chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"a length": "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc",
	} {
		s, _ := newRawSite(t, func(string) string { return head })
		for _, method := range []string{"GET", "PUT"} {
			request, err := http.NewRequest(method, s.url+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if a, err := receive(request); err == nil || len(a.body) > 3 {
				t.Errorf("%s %s: the client read %q, %v", method, name, a.body, err)
			}
		}
	}
}

// In front of a good member is one that breaks in different ways (P23, R103).
func TestNothingIsWrittenTwice(t *testing.T) {
	good := membertest.Start(t, 1).Members[0].ClientURL
	for name, each := range map[string]struct {
		text    string
		mayBe   bool // carried out; nobody can know
		nothing bool // the first one does not exist
	}{
		"cut":            {text: "", mayBe: true},
		"half a head":    {text: "HTTP/1.1 200 OK\r\nContent-Le", mayBe: true},
		"half a body":    {text: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nha", mayBe: true},
		"does not serve": {text: answerText(503, `{"message":"the member is starting"}`)},
		"is not there":   {nothing: true},
	} {
		first := newRaw(t, func(string) string { return each.text })
		url := first.url
		if each.nothing {
			url = "http://127.0.0.1:1"
		}
		// The broken one must be the first choice, which is random.
		var s *site
		clustertest.Eventually(t, "the right order", func() bool {
			s = newSite(t, []string{clustertest.Peer(t, 1, func() []string { return []string{url, good} }).URL}, func(o *Options) { o.FailureWait = time.Hour })
			clustertest.Eventually(t, "endpoints", func() bool { return len(s.cluster.Endpoints()) == 2 })
			return s.cluster.Endpoints()[0].URL == url
		})
		key := "/v2/keys/" + strings.ReplaceAll(name, " ", "-")
		a := s.do("POST", key, "value=1")
		if want := map[bool]int{true: 502, false: 201}[each.mayBe]; a.status != want || each.mayBe != strings.Contains(a.body, "outcome is unknown") {
			t.Errorf("%s: POST = %d %s", name, a.status, a.body)
		}
		read, err := send("GET", good+key, "")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(read.body, key[len("/v2/keys"):]+"/0"); n > 1 || each.mayBe == (n > 0) {
			t.Errorf("%s: the member has %d keys: %s", name, n, read.body)
		}
		if n := len(first.seen()); !each.nothing && n != 1 {
			t.Errorf("%s: the first endpoint got %d requests", name, n)
		}
		if a := s.get("/v2/keys/"); a.status != 200 {
			t.Errorf("%s: GET = %d %s", name, a.status, a.body)
		}
	}
}

// One request that no endpoint answers does not make all of them unavailable for others (P17).
func TestABadRequestAffectsNoOther(t *testing.T) {
	breaks := func(request string) string {
		if strings.Contains(request, "/break") {
			return ""
		}
		return answerText(200, "ok")
	}
	one, two := newRaw(t, breaks), newRaw(t, breaks)
	s := newSite(t, []string{clustertest.Peer(t, 1, func() []string { return []string{one.url, two.url} }).URL}).await(2)
	for _, method := range []string{"GET", "PUT"} {
		if a := s.do(method, "/break", ""); a.status != 502 {
			t.Errorf("%s = %d %s", method, a.status, a.body)
		}
		if a := s.get("/x"); a.status != 200 || len(s.available()) != 2 {
			t.Errorf("after a bad %s: %d, %v", method, a.status, s.available())
		}
	}
}

func TestLargeBodies(t *testing.T) {
	cluster := membertest.Start(t, 1)
	s := newSite(t, cluster.PeerURLs()).await(1)
	for _, size := range []int{bufferBytes - 7, bufferBytes - 6, bufferBytes - 5, keptBytes, 5 << 20} {
		value := strings.Repeat("v", size)
		if a := s.do("PUT", "/v2/keys/large", "value="+value); a.status > 201 {
			t.Errorf("PUT of %d bytes = %d %.100s", size, a.status, a.body)
		}
		if a := s.get("/v2/keys/large"); a.status != 200 || !strings.Contains(a.body, value) {
			t.Errorf("GET of %d bytes = %d, %d bytes", size, a.status, len(a.body))
		}
		request, err := http.NewRequest("PUT", s.url+"/v2/keys/chunked", io.MultiReader(strings.NewReader("value="+value)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a, err := receive(request); err != nil || a.status > 201 || !strings.Contains(a.body, value) {
			t.Errorf("PUT of %d bytes in chunks = %d %.100s, %v", size, a.status, a.body, err)
		}
	}
	// The member refuses it before it has read all of it.
	if a := s.do("PUT", "/v2/keys/huge", "value="+strings.Repeat("v", 11<<20)); a.status != 400 || !strings.Contains(a.body, "POST too large") {
		t.Errorf("K14: a body that is too large = %d %.100s", a.status, a.body)
	}
	if a := s.get("/v2/keys/large"); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
	clustertest.Eventually(t, "all bodies to be given up", func() bool { return s.o.Memory.Used() == 0 })
}

// A large body is kept for another endpoint, unless it is too large (P20).
func TestAnotherMemberGetsALargeBody(t *testing.T) {
	good := membertest.Start(t, 1).Members[0].ClientURL
	s := newSite(t, []string{clustertest.Peer(t, 1, func() []string { return []string{"http://127.0.0.1:1", good} }).URL})
	clustertest.Eventually(t, "endpoints", func() bool { return len(s.cluster.Endpoints()) == 2 })
	if a := s.do("PUT", "/v2/keys/k", "value="+strings.Repeat("v", 5<<20)); a.status != 201 {
		t.Errorf("PUT = %d %.100s", a.status, a.body)
	}
}

// A client that stops in the middle of a request leaves nothing behind, at the proxy or at the member (P28, R113).
func TestAbandonedRequests(t *testing.T) {
	var open atomic.Int64
	began := make(chan struct{}, 100)
	peer, _ := clustertest.Start(t, func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		began <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // ends when the proxy closes the connection
		<-r.Context().Done()
	})
	s := newSite(t, []string{peer}).await(1)
	for _, text := range []string{
		"GET /v2/keys/x HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /v2/keys/x?wait=true HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /v2/keys/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
		"PUT /v2/keys/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 200_000),
		"PUT /v2/keys/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + strings.Repeat("x", 200_000) + "\r\n",
	} {
		conn := s.dial(text)
		<-began
		conn.Close()
		clustertest.Eventually(t, "the member to be left alone", func() bool { return open.Load() == 0 })
	}
	clustertest.Eventually(t, "P28: a line for each", func() bool { return strings.Count(s.log.String(), "closed request prematurely") >= 3 })
}

// R109: the end of a request can be read in two ways, and a second one follows: at most the first is served.
func TestNoRequestIsSmuggled(t *testing.T) {
	cluster := membertest.Start(t, 1)
	s := newSite(t, cluster.PeerURLs()).await(1)
	const second = "PUT /v2/keys/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	for name, head := range map[string]string{
		"bad coding":                "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"two codings":               "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"tab before the coding":     "Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n",
		"length and coding":         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + "X",
		"two lengths":               "Content-Length: 0\r\nContent-Length: 7\r\n\r\n",
		"list of lengths":           "Content-Length: 0, 0\r\n\r\n",
		"signed length":             "Content-Length: +0\r\n\r\n",
		"bare LF in a chunk's size": "Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
		"space after the name":      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"a folded line":             "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"length of a hex":           "Content-Length: 0x0\r\n\r\n",
		"Connection hides it":       fmt.Sprintf("Connection: Content-Length, close\r\nContent-Length: %d\r\n\r\n", len(second)),
	} {
		statuses := s.exchange("PUT /v2/keys/first HTTP/1.1\r\nHost: x\r\n"+head+second, 2)
		if len(statuses) == 2 && statuses[1] < 400 {
			t.Errorf("R109: %s: answered %v", name, statuses)
		}
		if a := s.get("/v2/keys/smuggled"); a.status == 200 {
			t.Errorf("R109: %s: the second request was served", name)
			s.do("DELETE", "/v2/keys/smuggled", "")
		}
	}
	if a := s.get("/v2/keys/"); a.status != 200 {
		t.Errorf("afterwards: %+v", a)
	}
}

func TestWebPages(t *testing.T) {
	peer, _ := clustertest.Start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "http://member.example")
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("X-Origin", r.Header.Get("Origin"))
	})
	ask := func(s *site, method, origin string) answer {
		request, err := http.NewRequest(method, s.url+"/v2/keys/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", origin)
		a, err := receive(request)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	without := newSite(t, []string{peer}).await(1)
	if a := ask(without, "PUT", "http://a.example"); !slices.Equal(a.header["Access-Control-Allow-Origin"], []string{"http://member.example"}) || a.header.Get("X-Origin") != "http://a.example" {
		t.Errorf("without --cors members decide: %v", a.header)
	}
	with := newSite(t, []string{peer}, func(o *Options) { o.Origins = []string{"http://a.example"} }).await(1)
	if a := ask(with, "PUT", "http://a.example"); !slices.Equal(a.header["Access-Control-Allow-Origin"], []string{"http://a.example"}) || a.header.Get("X-Origin") != "" || len(a.header["Vary"]) != 2 {
		t.Errorf("S46: with --cors the proxy decides: %v", a.header)
	}
	if a := ask(with, "PUT", "http://b.example"); a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a write of a foreign page: %+v", a)
	}
	if a := ask(with, "GET", "http://b.example"); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a read of a foreign page: %+v", a)
	}
	guarded := newSite(t, []string{peer}, func(o *Options) { o.AllowHost = func(host string, _ bool) bool { return host == "good" } })
	for host, want := range map[string]int{"good": 200, "evil": 421} {
		request, err := http.NewRequest("OPTIONS", guarded.url+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		if a, err := receive(request); err != nil || a.status != want {
			t.Errorf("F51: Host %s = %+v, %v", host, a, err)
		}
	}
}

// The guard applies to the proxy's own paths; some of them have no CORS headers.
func TestWebPagesAndTheProxysOwnPaths(t *testing.T) {
	peer, _ := clustertest.Start(t, func(http.ResponseWriter, *http.Request) {})
	s := newSite(t, []string{peer}, func(o *Options) {
		o.Origins = []string{"http://a.example"}
		o.AllowHost = func(host string, _ bool) bool { return host == "good" }
	})
	for _, c := range []struct {
		rule, method, path, host string
		status                   int
		cors, empty              bool
	}{
		{"F51", "GET", pathMetrics, "evil", 421, false, false},
		{"F51", "GET", pathEndpoints, "evil", 421, false, false},
		{"F51", "GET", pathHealth, "evil", 421, false, false},
		{"S32", "GET", pathMetrics, "good", 200, false, false},
		{"P36", "GET", pathEndpoints, "good", 200, false, false},
		{"S44", "GET", pathHealth, "good", 503, true, false},
		{"S47", "OPTIONS", pathMetrics, "good", 200, false, true},
		{"S47", "OPTIONS", pathEndpoints, "good", 200, false, true},
		{"S47", "OPTIONS", pathHealth, "good", 200, true, true},
	} {
		request, err := http.NewRequest(c.method, s.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = c.host
		request.Header.Set("Origin", "http://a.example")
		a, err := receive(request)
		if c.path == pathHealth && a.status == 200 {
			a.status = c.status // depends on whether the member has been found
		}
		if err != nil || a.status != c.status || (a.header.Get("Access-Control-Allow-Origin") != "") != c.cors || (a.body == "") != c.empty {
			t.Errorf("%s: %s %s for Host %s = %d %v %q, %v", c.rule, c.method, c.path, c.host, a.status, a.header, a.body, err)
		}
	}
}
