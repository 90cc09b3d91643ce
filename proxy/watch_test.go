package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/proxy/clustertest"
)

// open starts a request whose answer must begin at once.
func (s *site) open(ctx context.Context, target string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, "GET", s.url+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	return response
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// kinds are the two kinds of watches, which use different code.
var kinds = map[string]string{"one event": "?wait=true&recursive=true", "a stream": "?wait=true&recursive=true&stream=true"}

// P30, P31: the head comes when the watch is set, and each event when it happens.
func TestWatchesAreImmediate(t *testing.T) {
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	for name, query := range kinds {
		watch := s.open(soon(t), "/v2/keys/w"+query)
		if watch.StatusCode != 200 || watch.Header.Get("X-Etcd-Index") == "" {
			t.Errorf("%s: %d %v", name, watch.StatusCode, watch.Header)
		}
		lines := bufio.NewScanner(watch.Body)
		for n := range 3 {
			if n > 0 && name == "one event" {
				break
			}
			s.do("PUT", "/v2/keys/w/k", fmt.Sprintf("value=%d-%s", n, strings.Repeat("x", 1600)))
			if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"value":"%d-x`, n)) {
				t.Fatalf("%s: event %d: %q, %v", name, n, lines.Text(), lines.Err())
			}
		}
		if name == "one event" && lines.Scan() {
			t.Errorf("more than one event: %q", lines.Text())
		}
	}
}

// P28: when the client leaves, nothing is left at the member.
func TestWatchesEndWithTheirClients(t *testing.T) {
	cluster := membertest.Start(t, 1)
	s := newSite(t, cluster.PeerURLs()).await(1)
	watchers := func() string {
		a, err := send("GET", cluster.Members[0].ClientURL+"/v2/stats/store", "")
		if err != nil {
			t.Fatal(err)
		}
		return a.body[strings.Index(a.body, `"watchers"`):]
	}
	for name, query := range kinds {
		ctx, leave := context.WithCancel(soon(t))
		for n := range 5 {
			s.open(ctx, fmt.Sprintf("/v2/keys/w%d%s", n, query))
		}
		if got := watchers(); got != `"watchers":5}` {
			t.Errorf("%s: %s", name, got)
		}
		leave()
		clustertest.Eventually(t, "the watchers to end", func() bool { return watchers() == `"watchers":0}` })
	}
}

// first gives the member of the proxy's first choice.
func first(s *site, c *membertest.Cluster) *membertest.Member {
	s.t.Helper()
	for _, m := range c.Members {
		if m.ClientURL == s.cluster.Endpoints()[0].URL {
			return m
		}
	}
	s.t.Fatal("no member is the first choice")
	return nil
}

// P32, P33: if nothing was delivered, another member continues a watch without a gap, with and without waitIndex, and for
// each way that the first member ends it.
func TestAnotherMemberContinuesWatches(t *testing.T) {
	for name, query := range kinds {
		for _, from := range []string{"", "&waitIndex=%d", "&waitIndex=0"} {
			cluster := membertest.Start(t, 3)
			s := newSite(t, cluster.PeerURLs()).await(3)
			made := s.do("PUT", "/v2/keys/other", "value=1")
			index, err := strconv.Atoi(made.header.Get("X-Etcd-Index"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(from, "%d") {
				from = fmt.Sprintf(from, index+1)
			}
			watch := s.open(soon(t), "/v2/keys/w"+query+from)
			// The member has stopped, and the change is made, before another one can be asked.
			m := first(s, cluster)
			m.Stop()
			clustertest.Eventually(t, "a write elsewhere", func() bool {
				return s.do("PUT", "/v2/keys/w/k", "value=while-moving").status == 201
			})
			line, err := bufio.NewReader(watch.Body).ReadString('\n')
			if err != nil || !strings.Contains(line, `"value":"while-moving"`) {
				t.Errorf("%s%s: %q, %v", name, from, line, err)
			}
			s.stop()
		}
	}
}

// P15: a watch does not move other clients to another member, although a stream takes its connection.
func TestWatchesDoNotChangeTheFirstChoice(t *testing.T) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs(), func(o *Options) { o.FailureWait = time.Hour }).await(3)
	before := s.cluster.Next(nil)
	for _, query := range kinds {
		s.open(soon(t), "/v2/keys/w"+query)
		if got := s.cluster.Next(nil); got != before {
			t.Errorf("after %s the choice is %s, before it was %s", query, got.URL, before.URL)
		}
	}
}

// A watch that has delivered events, or that nobody can continue, is cut: a complete end would be wrong.
func TestBrokenWatchesAreCut(t *testing.T) {
	for name, query := range kinds {
		var breaks atomic.Pointer[string]
		s, _ := newRawSite(t, func(string) string { return *breaks.Load() })
		for what, text := range map[string]string{
			"after an event": "HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
			"at once":        "HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
			"emptily":        "HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"no index":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			"bad chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\n{}\n\r\n0\r\n\r\n",
		} {
			breaks.Store(&text)
			a, err := send("GET", s.url+"/v2/keys/w"+query, "")
			if err == nil {
				t.Errorf("%s broken %s: the client got %+v", name, what, a)
			}
		}
	}
}

// Events that were there when the member ended the stream are delivered, and the end is forwarded.
func TestACompleteAnswerStaysComplete(t *testing.T) {
	s, _ := newRawSite(t, func(string) string {
		return "HTTP/1.1 200 OK\r\nX-Etcd-Index: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n"
	})
	for name, query := range kinds {
		if a, err := send("GET", s.url+"/v2/keys/w"+query, ""); err != nil || a.body != "{}\n" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if a := s.get("/v2/keys/w?wait=true&quorum=true"); a.body != "{}\n" {
		t.Errorf("K44: a quorum read: %+v", a)
	}
}

// P43: a proxy that stops cuts its watches, so that clients watch elsewhere, and finishes short requests.
func TestClose(t *testing.T) {
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	for _, query := range kinds {
		watch := s.open(soon(t), "/v2/keys/w"+query)
		defer func() {
			if b, err := io.ReadAll(watch.Body); err == nil {
				t.Errorf("a watch ended as if it were whole: %q", b)
			}
		}()
	}
	if err := s.Close(soon(t)); err != nil {
		t.Error(err)
	}
	if a := s.get("/v2/keys/w?wait=true"); a.status != 503 {
		t.Errorf("a watch while closing = %+v", a)
	}
	if a := s.get("/v2/keys/"); a.status != 200 {
		t.Errorf("a read while closing = %+v", a)
	}
}

// Clients of HTTP/1.0 and HTTP/2 have watches, too.
func TestWatchesOfOtherVersions(t *testing.T) {
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	conn := s.dial("GET /v2/keys/w?wait=true&stream=true HTTP/1.0\r\n\r\n")
	old, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(soon(t), "GET", s.url+"/v2/keys/w?wait=true&stream=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	s.do("PUT", "/v2/keys/w", "value=1")
	for name, body := range map[string]io.Reader{"1.0": old.Body, response.Proto: response.Body} {
		if line, err := bufio.NewReader(body).ReadString('\n'); err != nil || !strings.Contains(line, `"value":"1"`) {
			t.Errorf("HTTP %s: %q, %v", name, line, err)
		}
	}
}

// R102, in small: watches that are cut leave no connection behind.
func TestCutWatchesLeaveNothing(t *testing.T) {
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	for n := range 200 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v2/keys/w%s HTTP/1.1\r\nHost: h\r\n\r\n", []string{kinds["one event"], kinds["a stream"]}[n%2])
		if n%3 > 0 {
			conn.SetReadDeadline(time.Now().Add(clustertest.Patience))
			conn.Read(make([]byte, 1))
		}
		conn.Close()
	}
	clustertest.Eventually(t, "the watches to end", func() bool { return strings.Contains(s.get(pathMetrics).body, "canopy_proxy_watches 0") })
}

func TestChunks(t *testing.T) {
	for name, each := range map[string]struct {
		text           string
		payload, ended bool
		bad            bool
	}{
		"one and the end":  {"5\r\nhello\r\n0\r\n\r\n", true, true, false},
		"the end alone":    {"0\r\n\r\n", false, true, false},
		"zeros":            {"0005\r\nhello\r\n000\r\n\r\n", true, true, false},
		"letters":          {"a\r\n0123456789\r\nA\r\n0123456789\r\n", true, false, false},
		"half":             {"5\r\nhel", true, false, false},
		"bare LF":          {"5\nhello\r\n", false, false, true},
		"an extension":     {"5;x=y\r\nhello\r\n", false, false, true},
		"no size":          {"\r\nhello", false, false, true},
		"a blank":          {" 5\r\nhello\r\n", false, false, true},
		"a sign":           {"+5\r\nhello\r\n", false, false, true},
		"a long size":      {"000000005\r\nhello\r\n", false, false, true},
		"too short":        {"5\r\nhelloo\r\n", true, false, true},
		"a trailer":        {"0\r\nX: y\r\n\r\n", false, false, true},
		"after the end":    {"0\r\n\r\nHTTP/1.1", false, true, true},
		"two ends of line": {"5\r\nhello\r\r\n", true, false, true},
	} {
		for size := 1; size <= len(each.text); size++ { // in parts of every size
			var s chunkScanner
			var err error
			for rest := each.text; rest != "" && err == nil; {
				n := min(size, len(rest))
				err = s.scan([]byte(rest[:n]), nil)
				rest = rest[n:]
			}
			if (err != nil) != each.bad || s.payload != each.payload || s.ended != each.ended {
				t.Errorf("%s, in parts of %d: payload %v, ended %v, %v", name, size, s.payload, s.ended, err)
			}
		}
	}
}

// FuzzChunks compares the scanner with net/http: a body that it accepts means the same to both.
func FuzzChunks(f *testing.F) {
	for _, text := range []string{"5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "a\r\n0123456789\r\n", "5;x\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "00000000\r\n\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s chunkScanner
		var data strings.Builder
		err := s.scan([]byte(text), func(b []byte) error { data.Write(b); return nil })
		if err != nil || !s.ended {
			return
		}
		answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(answer.Body)
		if err != nil || string(want) != data.String() {
			t.Errorf("%q: %q here, %q, %v in net/http", text, data.String(), want, err)
		}
	})
}
