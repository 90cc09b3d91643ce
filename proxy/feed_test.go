package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/proxy/clustertest"
)

// waitsSoon makes watches for one event shared soon.
func waitsSoon(o *Options) { o.longWait = 10 * time.Millisecond }

// A prompter is a server that looks like a member; a test controls its watches.
type prompter struct {
	t      testing.TB
	site   *site
	index  string // of its answers
	asked  chan *prompted
	server *httptest.Server
}

// A prompted is a watch at a prompter.
type prompted struct {
	query  string
	events chan string   // written at once; closing it ends the answer
	left   chan struct{} // closed when the proxy has left
}

func newPrompter(t testing.TB) *prompter {
	t.Helper()
	m := &prompter{t: t, index: "7", asked: make(chan *prompted, 100)} // more than any test opens
	m.server = httptest.NewServer(clustertest.Versioned(func(w http.ResponseWriter, r *http.Request) {
		each := &prompted{r.URL.RawQuery, make(chan string), make(chan struct{})}
		defer close(each.left)
		w.Header().Set("X-Etcd-Index", m.index)
		control := http.NewResponseController(w)
		control.Flush()
		m.asked <- each
		for {
			select {
			case <-r.Context().Done():
				return
			case text, more := <-each.events:
				if !more {
					return
				}
				io.WriteString(w, text)
				control.Flush()
			}
		}
	}))
	t.Cleanup(m.server.Close)
	m.site = newSite(t, []string{clustertest.Peer(t, 1, func() []string { return []string{m.server.URL} }).URL}, waitsSoon).await(1)
	return m
}

// watch opens a watch of a client at an index of the cluster, and gives the member's side of it.
func (m *prompter) watch(index, query string) (client *bufio.Reader, member *prompted) {
	m.t.Helper()
	m.index = index
	answer := m.site.open(soon(m.t), "/v2/keys/w"+query)
	if got := answer.Header.Get("X-Etcd-Index"); got != index {
		m.t.Errorf("the watch began at %s, want %s", got, index)
	}
	return bufio.NewReader(answer.Body), m.next()
}

// next gives the next watch that the member gets.
func (m *prompter) next() *prompted {
	m.t.Helper()
	select {
	case each := <-m.asked:
		return each
	case <-soon(m.t).Done():
		m.t.Fatal("the member is not asked")
		return nil
	}
}

func (w *prompted) send(text string) { w.events <- text }

func (w *prompted) awaitLeft(t testing.TB) {
	t.Helper()
	select {
	case <-w.left:
	case <-soon(t).Done():
		t.Fatal("the proxy has not left")
	}
}

// change is an event.
func change(index int) string {
	return fmt.Sprintf(`{"action":"set","node":{"key":"/w","value":"{\"node\":{\"modifiedIndex\":99}}\n","modifiedIndex":%d,"createdIndex":%d},"prevNode":{"modifiedIndex":1}}`+"\n", index, index)
}

func expect(t testing.TB, what string, client *bufio.Reader, index int) {
	t.Helper()
	if line, err := client.ReadString('\n'); err != nil || line != change(index) {
		t.Errorf("%s: %q, %v, want the event %d", what, line, err, index)
	}
}

// P41: a watch that begins after a change gets nothing older, even if its shared feed is still to send that; and it misses
// nothing newer.
func TestAJoiningWatchGetsNoOldEvents(t *testing.T) {
	for name, query := range kinds {
		m := newPrompter(t)
		first, feed := m.watch("7", query)
		m.site.awaitShared(1)
		second, own := m.watch("9", query)
		third, other := m.watch("7", query)
		own.awaitLeft(t)
		other.awaitLeft(t)
		m.site.awaitShared(3)
		feed.send(change(9)[:20])
		feed.send(change(9)[20:])
		expect(t, name+": the first", first, 9)
		expect(t, name+": the third", third, 9)
		if name == "one event" {
			for _, each := range []*bufio.Reader{first, third} {
				if rest, err := io.ReadAll(each); err != nil || len(rest) > 0 {
					t.Errorf("after its event: %q, %v", rest, err)
				}
			}
			close(feed.events) // like the end of a watch for one event
			feed = m.next()
			if !strings.HasPrefix(feed.query, "waitIndex=10&") {
				t.Errorf("the watch goes on at %s", feed.query)
			}
		}
		feed.send(change(11) + change(12))
		expect(t, name+": the second", second, 11)
		if name == "a stream" {
			expect(t, name, second, 12)
			expect(t, name, first, 11)
			expect(t, name, first, 12)
		}
	}
}

// awaitShared waits until this many watches share the only shared feed.
func (s *site) awaitShared(watches int) {
	s.t.Helper()
	clustertest.Eventually(s.t, fmt.Sprintf("a feed of %d watches", watches), func() bool {
		s.feeds.mu.Lock()
		defer s.feeds.mu.Unlock()
		for _, f := range s.feeds.open {
			f.mu.Lock()
			n := len(f.streams)
			f.mu.Unlock()
			return n == watches && len(s.feeds.open) == 1
		}
		return false
	})
}

// P41: a watch for events that a feed has already sent does not share it, nor does a watch for other events.
func TestWatchesThatAreNotShared(t *testing.T) {
	const query = "?wait=true&stream=true"
	for name, each := range map[string]struct{ index, query string }{
		"behind the feed":    {"6", query},
		"from an index":      {"9", query + "&waitIndex=7"},
		"recursive":          {"9", query + "&recursive=true"},
		"of another key":     {"9", query + "&x=y"},
		"from the future":    {"9", query + "&waitIndex=11"},
		"twice the same":     {"9", query + "&stream=true"},
		"for one event only": {"9", "?wait=true"},
	} {
		m := newPrompter(t)
		m.watch("7", query)
		_, own := m.watch(each.index, each.query)
		select {
		case <-own.left:
			t.Errorf("%s: it is shared", name)
		case <-time.After(20 * time.Millisecond):
		}
	}
	m := newPrompter(t)
	m.watch("7", query)
	_, own := m.watch("9", "?wait=1&stream=T&recursive=0&waitIndex=8")
	own.awaitLeft(t)
}

// P41: a watch does not join a feed that is busy, moves, has ended, or comes from an endpoint that is unavailable or did not
// answer the watch.
func TestFeedsThatCannotBeJoined(t *testing.T) {
	peer, _ := clustertest.Start(t, clustertest.OK, clustertest.OK, clustertest.OK)
	s := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour }).await(3)
	all := s.cluster.Endpoints()
	available, unavailable, other := all[0], all[1], all[2]
	s.cluster.MarkUnavailable(unavailable, "a test says so")
	for name, each := range map[string]struct {
		feed *feed
		can  bool
	}{
		"none of it": {&feed{endpoint: available, after: 7}, true}, "behind": {&feed{endpoint: available, after: 8}, false},
		"busy": {&feed{endpoint: available, busy: true}, false}, "over": {&feed{endpoint: available, over: true}, false},
		"unavailable": {&feed{endpoint: unavailable}, false}, "elsewhere": {&feed{endpoint: other}, false},
	} {
		answered := available
		if each.feed.endpoint == unavailable {
			answered = unavailable
		}
		if got := each.feed.join(&stream{after: 7}, answered); got != each.can || each.feed.shared != each.can {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// P41: the streams of a shared feed are one watch at the member, as long as there is any of them.
func TestSharedWatchesAreOne(t *testing.T) {
	for name, query := range kinds {
		cluster := membertest.Start(t, 1)
		s := newSite(t, cluster.PeerURLs(), waitsSoon).await(1)
		watchers := func(n int) {
			t.Helper()
			clustertest.Eventually(t, fmt.Sprintf("%s: %d watchers at the member", name, n), func() bool {
				a, err := send("GET", cluster.Members[0].ClientURL+"/v2/stats/store", "")
				return err == nil && strings.HasSuffix(a.body, fmt.Sprintf(`"watchers":%d}`, n)) &&
					(n > 0 || strings.Contains(s.get(pathMetrics).body, "canopy_proxy_watches 0"))
			})
		}
		var leaves []context.CancelFunc
		var clients []*bufio.Reader
		for range 10 {
			ctx, leave := context.WithCancel(soon(t))
			clients = append(clients, bufio.NewReader(s.open(ctx, "/v2/keys/w"+query).Body))
			leaves = append(leaves, leave)
		}
		watchers(1)
		for _, leave := range leaves[:5] { // also the founder
			leave()
		}
		s.do("PUT", "/v2/keys/w/k", "value=1")
		for n, each := range clients[5:] {
			if line, err := each.ReadString('\n'); err != nil || !strings.Contains(line, `"value":"1"`) {
				t.Errorf("%s: watch %d: %q, %v", name, n, line, err)
			}
		}
		for _, leave := range leaves[5:] {
			leave()
		}
		watchers(0)
		s.stop()
	}
}

// P32, P41: a shared feed knows its last event, so another member continues it even after events.
func TestAnotherMemberContinuesASharedFeed(t *testing.T) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs()).await(3)
	var clients []*bufio.Reader
	for range 3 {
		clients = append(clients, bufio.NewReader(s.open(soon(t), "/v2/keys/w"+kinds["a stream"]).Body))
	}
	s.awaitShared(3)
	for n, m := range append([]*membertest.Member{nil}, cluster.Members...) { // each of them was once the member of the feed
		if m != nil {
			m.Stop()
		}
		value := strconv.Itoa(n)
		clustertest.Eventually(t, "a write", func() bool { return s.do("PUT", "/v2/keys/w/k", "value="+value).status < 300 })
		for i, each := range clients {
			if line, err := each.ReadString('\n'); err != nil || !strings.Contains(line, `"value":"`+value+`"`) {
				t.Fatalf("watch %d: %q, %v, want %s", i, line, err, value)
			}
		}
		if m != nil {
			m.Start()
			s.await(3)
		}
	}
}

// lagging is a proxy that soon cuts slow clients, and clients of one feed that do not read.
func lagging(t *testing.T, clients int) (s *site, slow []net.Conn) {
	t.Helper()
	s = newSite(t, membertest.Start(t, 1).PeerURLs(), func(o *Options) { o.lag = 2 << 20 }).await(1)
	for range clients {
		slow = append(slow, s.dial("GET /v2/keys/w?wait=true&stream=true HTTP/1.1\r\nHost: h\r\n\r\n"))
	}
	s.awaitShared(clients)
	return s, slow
}

// P41: a client that does not read is cut, and does not delay the others.
func TestASlowClientIsCut(t *testing.T) {
	s, slow := lagging(t, 1)
	quick := bufio.NewReader(s.open(soon(t), "/v2/keys/w?wait=true&stream=true").Body)
	s.awaitShared(2)
	value := strings.Repeat("x", 512<<10)
	n := 0
	clustertest.Eventually(t, "the slow client to be given up", func() bool {
		n++
		s.do("PUT", "/v2/keys/w?noValueOnSuccess=true", fmt.Sprintf("value=%d-%s", n, value))
		if line, err := quick.ReadString('\n'); err != nil || !strings.Contains(line, fmt.Sprintf(`"value":"%d-x`, n)) {
			t.Fatalf("event %d: %.80q, %v", n, line, err)
		}
		return strings.Contains(s.get(pathMetrics).body, "canopy_proxy_watches 1\n")
	})
	answer, err := http.ReadResponse(bufio.NewReader(slow[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Error("the slow client took its stream for whole")
	}
}

// P43: a proxy that stops does not wait for clients that do not read.
func TestSlowClientsDoNotDelayAStop(t *testing.T) {
	s, _ := lagging(t, 3)
	value := "value=" + strings.Repeat("x", 512<<10)
	clustertest.Eventually(t, "the clients to lag", func() bool {
		s.do("PUT", "/v2/keys/w?noValueOnSuccess=true", value)
		return s.o.Memory.Used() > s.o.lag/2
	})
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout/2)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("watches are left: %v", err)
	}
	if got := s.o.Memory.Used(); got != 0 {
		t.Errorf("%d bytes of events are counted that nobody has", got)
	}
}

// P41: if a member sends an error and not an event, a shared feed is cut.
func TestASharedFeedThatBreaks(t *testing.T) {
	for name, text := range map[string]string{
		"an error": `{"errorCode":401,"message":"The event in requested index is outdated and cleared","index":12}` + "\n",
		"no JSON":  "{\n", "no event": "{}\n", "no index": `{"node":{"modifiedIndex":-1}}` + "\n",
	} {
		m := newPrompter(t)
		first, feed := m.watch("7", kinds["a stream"])
		m.site.awaitShared(1)
		second, _ := m.watch("8", kinds["a stream"])
		m.site.awaitShared(2)
		feed.send(change(9) + text)
		for _, each := range []*bufio.Reader{first, second} {
			expect(t, name, each, 9)
			if rest, err := io.ReadAll(each); err == nil || len(rest) > 0 {
				t.Errorf("%s: %q, %v", name, rest, err)
			}
		}
	}
}

// A watcher of the test below stores what a client received.
type watcher struct {
	from   int // X-Etcd-Index
	single bool
	got    []int
	failed error // nil: the answer was complete
}

func (w *watcher) read(body io.Reader) {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if err != io.EOF {
				w.failed = err
			}
			return
		}
		var e struct{ Node struct{ ModifiedIndex int } }
		if err := json.Unmarshal(line, &e); err != nil {
			w.failed = fmt.Errorf("%q: %w", line, err)
			return
		}
		w.got = append(w.got, e.Node.ModifiedIndex)
	}
}

// P41, in general: each watch gets all events after its index, in order and once, up to its end.
func TestSharedWatchesGetTheSameEventsAsAlone(t *testing.T) {
	for _, restarts := range []int{0, 2} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("%d restarts, seed %d", restarts, seed), func(t *testing.T) {
			checkSharing(t, rand.New(rand.NewPCG(seed, 0)), restarts)
		})
	}
}

func checkSharing(t *testing.T, random *rand.Rand, restarts int) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs(), waitsSoon).await(3)
	begin := s.do("PUT", "/v2/keys/begin", "value=1")
	end, done := context.WithCancel(soon(t))
	var writing, watching sync.WaitGroup
	for n := range 2 {
		gap := 1 + random.IntN(60)
		writing.Go(func() {
			for i := 0; end.Err() == nil; i++ {
				send("PUT", s.url+[]string{"/v2/keys/w/a", "/v2/keys/other"}[n], "value=1") // may fail during restarts
				pause(time.Duration(i%2*gap) * time.Millisecond)
			}
		})
	}
	var mu sync.Mutex // guards all
	var all []*watcher
	for range 30 {
		single, life := random.IntN(3) == 0, time.Duration(random.IntN(1200))*time.Millisecond
		query := kinds["a stream"]
		if single {
			query = kinds["one event"]
		}
		watching.Go(func() {
			for end.Err() == nil {
				w := &watcher{single: single}
				ctx, leave := context.WithTimeout(end, life)
				if w.open(ctx, s.url+"/v2/keys/w"+query) {
					mu.Lock()
					all = append(all, w)
					mu.Unlock()
				}
				leave()
			}
		})
	}
	for range restarts {
		m := cluster.Members[random.IntN(3)]
		m.Stop()
		m.Start()
		s.await(3)
	}
	pause(2 * time.Second)
	done()
	writing.Wait()
	watching.Wait()
	history := &watcher{}
	from, err := strconv.Atoi(begin.header.Get("X-Etcd-Index"))
	if err != nil {
		t.Fatal(err)
	}
	history.all(t, cluster.Members[0].ClientURL, from, s)
	judge(t, all, history.got)
}

// pause waits in real time; no other sign shows that nothing happens.
func pause(d time.Duration) { <-time.After(d) }

// open watches until the context or the watch ends. It tells whether there was a watch.
func (w *watcher) open(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	w.from, err = strconv.Atoi(response.Header.Get("X-Etcd-Index"))
	if err != nil || response.StatusCode != 200 {
		return false
	}
	w.read(response.Body)
	return true
}

// all reads all events after an index from a member itself, up to one that it makes.
func (w *watcher) all(t *testing.T, member string, from int, s *site) {
	last, err := strconv.Atoi(s.do("PUT", "/v2/keys/w/end", "value=1").header.Get("X-Etcd-Index"))
	if err != nil {
		t.Fatal(err)
	}
	for len(w.got) == 0 || w.got[len(w.got)-1] < last {
		a, err := send("GET", fmt.Sprintf("%s/v2/keys/w?wait=true&recursive=true&waitIndex=%d", member, from+1), "")
		if err != nil || a.status != 200 {
			t.Fatalf("%+v, %v", a, err)
		}
		w.read(strings.NewReader(a.body))
		from = w.got[len(w.got)-1]
	}
}

func judge(t *testing.T, all []*watcher, history []int) {
	t.Helper()
	events := 0
	for _, w := range all {
		want := history
		for len(want) > 0 && want[0] <= w.from {
			want = want[1:]
		}
		events += len(w.got)
		switch {
		case len(w.got) > len(want) || fmt.Sprint(w.got) != fmt.Sprint(want[:len(w.got)]):
			t.Errorf("a watch from %d got %v, want %v", w.from, w.got, want)
		case w.single && len(w.got) > 1:
			t.Errorf("a watch for one event got %v", w.got)
		case w.failed == nil && len(w.got) == 0: // a member that stops ends others completely, and the proxy forwards that
			t.Errorf("a watch from %d ended as if it were whole, with %v", w.from, w.got)
		}
	}
	t.Logf("%d watches got %d events of %d", len(all), events, len(history))
}
