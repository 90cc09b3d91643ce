package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/etcdserver"
	"canopy/internal/httpserver"
	"canopy/internal/httpserver/hijack"
	"canopy/store"
	"canopy/store/watch"
)

// next reads one line of a stream.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading a line: %q, %v", line, err)
	}
	return line
}

// rest reads to the end of a body, which must be complete.
func rest(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading the rest of a body: %q, %v", text, err)
	}
	return string(text)
}

func setEvent(key, value string, index int) string {
	return fmt.Sprintf(`{"action":"set","node":{"key":%q,"value":%q,"modifiedIndex":%d,"createdIndex":%d}}`+"\n", key, value, index, index)
}

// client makes a client of one protocol.
func (s *site) client(http2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: p}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// notFast leaves all requests to net/http.
func notFast(*http.Request) bool { return false }

// overProtocols runs a test over HTTP/1.1, with and without the fast path, and HTTP/2, with a way to open a watch.
func overProtocols(t *testing.T, o Options, test func(t *testing.T, s *site, open func(target string) (*http.Response, *bufio.Reader))) {
	for _, variant := range []struct {
		name  string
		http2 bool
		fast  func(*http.Request) bool
	}{{"Fast", false, IsFast}, {"HTTP1", false, notFast}, {"HTTP2", true, IsFast}} {
		t.Run(variant.name, func(t *testing.T) {
			s := newSite(t, o, httpserver.Options{Fast: variant.fast})
			client := s.client(variant.http2)
			test(t, s, func(target string) (*http.Response, *bufio.Reader) {
				t.Helper()
				resp, err := client.Get("http://" + s.addr + target)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { resp.Body.Close() })
				return resp, bufio.NewReader(resp.Body)
			})
		})
	}
}

func TestWatchesAreAnsweredAtOnce(t *testing.T) {
	overProtocols(t, Options{}, func(t *testing.T, s *site, open func(string) (*http.Response, *bufio.Reader)) {
		for _, stream := range []string{"false", "true"} {
			resp, body := open("/v2/keys/w?wait=true&stream=" + stream) // K90: returns before any event exists
			h := resp.Header
			if resp.StatusCode != 200 || h.Get("Content-Type") != "application/json" || h.Get("X-Etcd-Index") == "" ||
				h.Get("X-Raft-Index") == "" || h.Get("X-Raft-Term") == "" || h.Get("X-Etcd-Cluster-Id") == "" || h.Get("Date") == "" {
				t.Errorf("K90: stream=%s: %d %v", stream, resp.StatusCode, h)
			}
			s.do("DELETE", "/v2/keys/w", "")
			s.do("PUT", "/v2/keys/w", "value=1")
			if got := next(t, body); !strings.Contains(got, `"key":"/w"`) {
				t.Errorf("stream=%s: event %s", stream, got)
			}
			if stream == "false" {
				if got := rest(t, body); got != "" {
					t.Errorf("K92: after the one event: %q", got)
				}
			}
		}
	})
}

func TestStreamGoesOnFromThePast(t *testing.T) {
	overProtocols(t, Options{}, func(t *testing.T, s *site, open func(string) (*http.Response, *bufio.Reader)) {
		const past, live = 200, 200
		for i := range past {
			s.do("PUT", "/v2/keys/d/"+fmt.Sprint(i), "value=v")
		}
		_, body := open("/v2/keys/d?wait=true&stream=true&recursive=true&waitIndex=4")
		var writer sync.WaitGroup
		writer.Go(func() {
			for i := range live {
				s.do("PUT", "/v2/keys/d/"+fmt.Sprint(past+i), "value=v")
			}
		})
		for i := range past + live {
			if got, want := next(t, body), setEvent(fmt.Sprintf("/d/%d", i), "v", 4+i); got != want {
				t.Fatalf("K109: event %d is %s, want %s", i, got, want)
			}
		}
		writer.Wait()
	})
}

func TestStreamTakesEventsOfEverySize(t *testing.T) {
	overProtocols(t, Options{}, func(t *testing.T, s *site, open func(string) (*http.Response, *bufio.Reader)) {
		_, body := open("/v2/keys/k?wait=true&stream=true")
		for _, size := range []int{0, 1, 15 << 10, 17 << 10, 33 << 10, 1 << 20, 2} {
			value := strings.Repeat("x", size)
			s.do("PUT", "/v2/keys/k", "value="+value)
			if got := next(t, body); !strings.Contains(got, `"node":{"key":"/k","value":"`+value+`"`) {
				t.Fatalf("event of %d bytes: %d bytes", size, len(got))
			}
		}
	})
}

func TestClientsThatLeaveFreeTheirWatchers(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	var conns []net.Conn
	for i := range 100 {
		_, _, conn := s.open(fmt.Sprintf("/v2/keys/w?wait=true&stream=%v", i%2 == 0))
		conns = append(conns, conn)
	}
	if n := s.member.store.Watchers(); n != 100 {
		t.Fatalf("%d watchers, want 100", n)
	}
	for i, conn := range conns {
		if tcp := conn.(*net.TCPConn); i%3 == 0 {
			tcp.SetLinger(0) // RST
		}
		conn.Close()
	}
	eventually(t, "K112, R66: no watcher is left", func() bool { return s.member.store.Watchers() == 0 })
	_, body, _ := s.open("/v2/keys/w?wait=true")
	s.do("PUT", "/v2/keys/w", "value=1")
	if got := rest(t, body); got == "" {
		t.Error("R67: a new watch gets nothing")
	}
}

// A long poll leaves the server, and its client may use the connection again, unless it says otherwise.
func TestAConnectionIsUsedAgainAfterALongPoll(t *testing.T) {
	for _, fast := range []func(*http.Request) bool{IsFast, notFast} {
		s := newSite(t, Options{}, httpserver.Options{Fast: fast})
		conn := s.dial("")
		r := bufio.NewReader(conn)
		for i, c := range []struct{ header, early string }{
			{}, {}, // a second poll on one connection
			{early: "GET /v2/keys/w HTTP/1.1\r\nHost: localhost\r\n\r\n"}, // the next request before the answer
			{header: "Connection: close\r\n"},
		} {
			fmt.Fprintf(conn, "GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s", c.header, c.early)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("poll %d: %v", i, err)
			}
			s.do("PUT", "/v2/keys/w", fmt.Sprintf("value=%d", i))
			if got, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(got), fmt.Sprintf(`"value":"%d"`, i)) {
				t.Fatalf("poll %d: %q, %v", i, got, err)
			}
			if resp.Close != (c.header != "") {
				t.Errorf("poll %d: the connection closes: %v", i, resp.Close)
			}
			if c.early == "" {
				continue
			}
			if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
				t.Fatalf("the request behind poll %d: %v, %v", i, resp, err)
			}
			rest(t, bufio.NewReader(resp.Body))
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("after the last answer: %v, want the end", err)
		}
	}
}

// A stream that has been quiet keeps no sender, and the next event still comes, again and again.
func TestAQuietStreamSendsItsNextEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSoloMember(store.Options{})
		h := New(m, Options{})
		server, client := net.Pipe()
		key, err := store.ParseKey("/w")
		if err != nil {
			t.Fatal(err)
		}
		watcher, err := m.Watch(key, watch.Options{Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.watches.enter(); err != nil {
			t.Fatal(err)
		}
		s := &stream{h: h, conn: hijack.New(server), openWatch: &openWatch{watcher: watcher}}
		s.start()
		r := bufio.NewReader(client)
		for i := range 3 {
			synctest.Wait()
			if s.sending {
				t.Errorf("event %d: there is a sender", i)
			}
			if _, err := m.DoFor(t.Context(), etcdserver.Origin{}, store.Set{Key: key, Value: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"\r\n", fmt.Sprintf(`"value":"%d"`, i), "\r\n"} {
				if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, want) {
					t.Errorf("event %d: %q, %v, want %q", i, line, err, want)
				}
			}
			time.Sleep(2 * lingers)
		}
		client.Close()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsWatchesWithWholeBodies(t *testing.T) {
	overProtocols(t, Options{}, func(t *testing.T, s *site, open func(string) (*http.Response, *bufio.Reader)) {
		_, stream := open("/v2/keys/w?wait=true&stream=true")
		_, once := open("/v2/keys/w?wait=true")
		s.do("PUT", "/v2/keys/other", "value=1")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.handler.Close(ctx); err != nil {
			t.Fatal(err)
		}
		for _, body := range []*bufio.Reader{stream, once} {
			if got := rest(t, body); got != "" {
				t.Errorf("K113: the end of a watch is %q", got)
			}
		}
		want := `{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: server stopped","index":0}` + "\n"
		s.wants("GET", "/v2/keys/w?wait=true", "", 500, want)
	})
}

func TestStoppingStoreEndsWatches(t *testing.T) {
	overProtocols(t, Options{}, func(t *testing.T, s *site, open func(string) (*http.Response, *bufio.Reader)) {
		_, stream := open("/v2/keys/w?wait=true&stream=true")
		_, once := open("/v2/keys/w?wait=true")
		s.member.store.CloseWatchers(etcdserver.ErrStopped)
		if got := rest(t, stream) + rest(t, once); got != "" {
			t.Errorf("K113: the end of the watches is %q", got)
		}
		s.wants("GET", "/v2/keys/w?wait=true", "", 500, `{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: server stopped","index":0}`+"\n")
	})
}

// The client reads nothing while more events happen than history holds.
func TestSlowStreamsGetAllOrAClearEnd(t *testing.T) {
	const events = 200
	value := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name    string
		history int
	}{{"long history", 10 * events}, {"short history", 10}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSiteOf(t, newSoloMember(store.Options{HistoryEvents: c.history, HistoryBytes: 1 << 30, WatchQueue: 4}), Options{}, httpserver.Options{})
			_, body, _ := s.open("/v2/keys/k?wait=true&stream=true")
			for range events {
				s.do("PUT", "/v2/keys/k", "value="+value)
			}
			for i := range events {
				line := next(t, body)
				if index := 4 + i; !strings.Contains(line, fmt.Sprintf(`"value":%q,"modifiedIndex":%d,`, value, index)) {
					var e struct{ ErrorCode, Index int }
					if err := json.Unmarshal([]byte(line), &e); err != nil || e.ErrorCode != 401 || e.Index != 3+events || c.history > events {
						t.Fatalf("R58: instead of event %d: %.200s", index, line)
					}
					if end := rest(t, body); end != "" {
						t.Errorf("after the error: %q", end)
					}
					return
				}
			}
			if c.history < events {
				t.Error("all events have come; the test shows nothing")
			}
		})
	}
}

func TestWatchFromClearedHistory(t *testing.T) {
	s := newSiteOf(t, newSoloMember(store.Options{HistoryEvents: 10}), Options{}, httpserver.Options{})
	for range 100 {
		s.do("PUT", "/v2/keys/k", "value=1")
	}
	oldest, newest := s.member.HistoryRange()
	for _, stream := range []string{"", "&stream=true"} {
		a := s.wants("GET", "/v2/keys/k?wait=true&waitIndex=4"+stream, "", 400, fmt.Sprintf(
			`{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [%d/4]","index":%d}`+"\n", oldest, newest))
		checkKeysHeaders(t, "K95", a)
	}
	if open := s.handler.watches.open; open != 0 {
		t.Errorf("%d watches are counted", open)
	}
}

func TestWatchesAreLimited(t *testing.T) {
	s := newSite(t, Options{WatchesMax: 3}, httpserver.Options{})
	var last net.Conn
	for range 3 {
		_, _, last = s.open("/v2/keys/w?wait=true&stream=true")
	}
	want := `{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: too many watches are open","index":0}` + "\n"
	s.wants("GET", "/v2/keys/w?wait=true", "", 503, want)
	last.Close()
	eventually(t, "there is room again", func() bool {
		resp, _, conn := s.open("/v2/keys/w?wait=true")
		conn.Close()
		return resp.StatusCode == 200
	})
}

func TestWatchOverHTTP10EndsWithTheConnection(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	conn := s.dial("GET /v2/keys/w?wait=true&stream=true HTTP/1.0\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || len(resp.TransferEncoding) != 0 {
		t.Fatalf("%v, %v", resp, err)
	}
	s.do("PUT", "/v2/keys/w", "value=1")
	if got, want := next(t, r), setEvent("/w", "1", 4); got != want {
		t.Errorf("event %s, want %s", got, want)
	}
}

// No time-out of the server ends a watch (K111, R70).
func TestStreamOutlivesTheTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	s := newSite(t, Options{}, httpserver.Options{HeaderTimeout: short, IdleTimeout: short})
	_, stream, _ := s.open("/v2/keys/w?wait=true&stream=true")
	_, once, _ := s.open("/v2/keys/w?wait=true")
	// A connection that sends half a request is cut; the time-outs of the watches would have passed by then, too.
	half := s.dial("GET /v2/keys/w HTTP/1.1\r\nHost:")
	for range 3 {
		if _, err := io.ReadAll(half); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("half a request: %v", err)
		}
		half = s.dial("GET /v2/keys/w HTTP/1.1\r\nHost:")
	}
	s.do("PUT", "/v2/keys/w", "value=1")
	for _, body := range []*bufio.Reader{stream, once} {
		if got, want := next(t, body), setEvent("/w", "1", 4); got != want {
			t.Errorf("event %s, want %s", got, want)
		}
	}
}

// Watches of mixed kinds run under the race detector (R68).
func TestManyStreamsShareAnEvent(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	const watchers, events = 60, 20
	var bodies []*bufio.Reader
	for i := range watchers {
		_, body, _ := s.open([]string{
			"/v2/keys/d/k?wait=true&stream=true",
			"/v2/keys/d?wait=true&stream=true&recursive=true",
			"/v2/keys/?wait=true&recursive=true&stream=true",
		}[i%3])
		bodies = append(bodies, body)
	}
	for i := range events {
		s.do("PUT", "/v2/keys/d/k", fmt.Sprintf("value=%d", i))
	}
	for _, body := range bodies {
		for i := range events {
			if got := next(t, body); !strings.Contains(got, fmt.Sprintf(`"node":{"key":"/d/k","value":"%d","modifiedIndex":%d,`, i, 4+i)) {
				t.Fatalf("event %d is %s", i, got)
			}
		}
	}
}
