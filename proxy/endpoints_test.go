package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
	"canopy/internal/disk"
)

func ok(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) }

// P15, P16, P13: clients stay with one endpoint, leave it when it fails, and come back to it; a refresh in between changes
// nothing.
func TestStickiness(t *testing.T) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs(), func(o *Options) { o.RefreshInterval = 10 * time.Millisecond }).await(3)
	order := s.available()
	m := first(s, cluster)
	m.Stop()
	if a := s.get("/v2/keys/"); a.status != 200 {
		t.Errorf("a read = %+v", a)
	}
	eventually(t, "the endpoint to rest", func() bool { return slices.Equal(s.available(), order[1:]) })
	if a := s.get(pathEndpoints); !strings.Contains(a.body, `"unavailable":[{"endpoint":"`+order[0]+`","reason":"`) {
		t.Errorf("P44: %s", a.body)
	}
	for range 20 {
		s.do("GET", "/v2/keys/", "")
	}
	m.Start()
	eventually(t, "the endpoint to come back", func() bool { return slices.Equal(s.available(), order) })
	eventually(t, "the log to say so", func() bool { return strings.Contains(s.log.String(), order[0]+" available") })
	for _, line := range []string{"marked endpoint " + order[0] + " unavailable", "marked endpoint " + order[0] + " available"} {
		if n := strings.Count(s.log.String(), line); n != 1 {
			t.Errorf("%q was logged %d times", line, n)
		}
	}
}

// An unavailable endpoint is logged each minute, with the reason, until it is available again.
func TestUnavailableEndpointsAreToldEachMinute(t *testing.T) {
	s := newSite(t, []string{membertest.Start(t, 1).Members[0].PeerURL}).await(1)
	s.stop() // nobody else reminds
	e := s.list.all()[0]
	e.resting.Store(&rest{reason: "it does not answer"})
	begin := time.Now()
	for _, at := range []time.Duration{0, 59, 60, 61, 119, 120} {
		s.remind(begin.Add(at * time.Second))
	}
	e.resting.Store(nil)
	s.remind(begin.Add(181 * time.Second))
	for line, want := range map[string]int{"is still unavailable": 2, e.url + " is still unavailable, for 1m0s: it does not answer": 1, "for 2m0s": 1} {
		if n := strings.Count(s.log.String(), line); n != want {
			t.Errorf("%q was logged %d times, want %d:\n%s", line, n, want, s.log)
		}
	}
}

// P18: a probe detects a member that accepts connections and does not answer; a request that meets it before that goes to
// another member, if it may, after the time-out of the answer.
func TestFrozenMember(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	good := membertest.Start(t, 1).Members[0].ClientURL
	peer := fakePeer(t, 1, func() []string { return []string{"http://" + frozen.Addr().String(), good} }).URL
	s := newSite(t, []string{peer}, func(o *Options) { o.Election = 10 * time.Millisecond })
	eventually(t, "the frozen endpoint to rest", func() bool { return slices.Equal(s.available(), []string{good}) })

	late := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour; o.Election = -2450 * time.Millisecond }).await(2)
	for _, method := range []string{"GET", "PUT"} {
		a := late.do(method, "/v2/keys/k", "value=1")
		if a.status >= 500 && (method == "GET" || !strings.Contains(a.body, "outcome is unknown")) {
			t.Errorf("%s = %+v", method, a)
		}
	}
}

// An endpoint without a quorum is better than none, but comes after all others.
func TestTheLastChoice(t *testing.T) {
	dead, last, second, well := &endpoint{url: "dead"}, &endpoint{url: "last"}, &endpoint{url: "second"}, &endpoint{url: "well"}
	dead.resting.Store(&rest{})
	last.resting.Store(&rest{answers: true})
	second.unproven.Store(true)
	var list endpointList
	list.current.Store(&[]*endpoint{dead, last, second, well})
	for _, want := range []*endpoint{well, second, last, nil} {
		var tried []*endpoint
		for _, e := range []*endpoint{well, second, last} {
			if e == want {
				break
			}
			tried = append(tried, e)
		}
		if got := list.next(tried); got != want {
			t.Errorf("after %d were tried: %v", len(tried), got)
		}
	}
}

// If all were restarted a moment ago, the one that is about to stop now comes last.
func TestAStoppingMemberComesLast(t *testing.T) {
	o := Options{}.withDefaults()
	now := o.now() + int64(time.Minute)
	stopping, first, added := &endpoint{url: "stopping", o: &o}, &endpoint{url: "first", o: &o}, &endpoint{url: "added", o: &o}
	stopping.leaving.Store(now)
	first.leaving.Store(now - int64(time.Second))
	added.unproven.Store(true)
	var list endpointList
	list.current.Store(&[]*endpoint{stopping, first, added})
	var tried []*endpoint
	for _, want := range []*endpoint{added, first, stopping} {
		if got := list.next(tried); got != want {
			t.Errorf("after %d were tried: %v", len(tried), got)
		}
		tried = append(tried, want)
	}
}

// P17: an endpoint that does not answer while another one does becomes unavailable.
func TestASilentEndpointRests(t *testing.T) {
	silent := newRaw(t, func(string) string { return "" })
	_, members := fakeCluster(t, ok)
	peer := fakePeer(t, 1, func() []string { return []string{silent.url, members[0].url} }).URL
	eventually(t, "the silent endpoint to be the first choice", func() bool {
		s := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour }).await(2)
		isFirst := s.list.all()[0].url == silent.url
		if a := s.get("/x"); a.body != "ok" {
			t.Errorf("%+v", a)
		}
		if marked := "marked endpoint " + silent.url + " unavailable"; isFirst && !strings.Contains(s.log.String(), marked) {
			t.Errorf("the log lacks %q", marked) // a probe, which it answers, may have made it available again
		}
		return isFirst
	})
}

// P17: a probe that began before an endpoint became unavailable does not make it available.
func TestAnOldProbeChangesNothing(t *testing.T) {
	_, members := fakeCluster(t, ok, ok)
	peer := fakePeer(t, 1, func() []string { return []string{members[0].url, members[1].url} }).URL
	s := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour }).await(2)
	e := s.list.all()[0]
	old := verdict{endpoint: e, rest: e.resting.Load(), ready: true}
	s.rest(e, "no response")
	s.judge([]verdict{old})
	if e.resting.Load() == nil {
		t.Error("an old verdict brought it back")
	}
	s.judge([]verdict{{endpoint: e, rest: e.resting.Load(), ready: true}})
	if e.resting.Load() != nil {
		t.Error("a later verdict did not bring it back")
	}
}

// P11, P12: an answer of another cluster, or none at all, changes nothing.
func TestTheLastGoodListIsKept(t *testing.T) {
	_, members := fakeCluster(t, ok, ok)
	var cluster atomic.Uint64
	var urls atomic.Pointer[[]string]
	cluster.Store(0xa)
	urls.Store(&[]string{members[0].url})
	peer := httptest.NewServer(nil)
	defer peer.Close()
	peer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", fmt.Sprintf("%x", cluster.Load()))
		fmt.Fprintf(w, `[{"id":1,"peerURLs":[%q],"clientURLs":[%q]}]`, peer.URL, (*urls.Load())[0])
	})
	s := newSite(t, []string{peer.URL}, func(o *Options) { o.RefreshInterval = 5 * time.Millisecond }).await(1)
	cluster.Store(0xb)
	urls.Store(&[]string{members[1].url})
	eventually(t, "the other cluster to be refused", func() bool { return strings.Contains(s.log.String(), "it belongs to the cluster b") })
	if got := s.available(); !slices.Equal(got, []string{members[0].url}) {
		t.Errorf("P12: %v", got)
	}
	peer.CloseClientConnections()
	peer.Config.Handler = http.NotFoundHandler()
	if a := s.get("/x"); a.body != "ok" {
		t.Errorf("P11: %+v", a)
	}
}

// A member that has not published its client URLs is starting: the proxy refreshes sooner.
func TestAStartingMemberIsFoundSoon(t *testing.T) {
	_, members := fakeCluster(t, ok, ok)
	var begun atomic.Bool
	peer := httptest.NewServer(nil)
	defer peer.Close()
	peer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", "a")
		second := "[]"
		if begun.Load() {
			second = fmt.Sprintf("[%q]", members[1].url)
		}
		fmt.Fprintf(w, `[{"id":1,"peerURLs":[%q],"clientURLs":[%q]},{"id":2,"peerURLs":["http://127.0.0.1:1"],"clientURLs":%s}]`, peer.URL, members[0].url, second)
	})
	s := newSite(t, []string{peer.URL}, func(o *Options) { o.RefreshInterval = time.Hour }).await(1)
	begun.Store(true)
	s.await(2)
}

// The answer of most peers counts: one that lags, or was removed without knowing it, changes nothing (R105).
func TestTheMajorityOfThePeersCounts(t *testing.T) {
	now := report{cluster: 1, peers: []string{"http://p:1", "http://p:2"}, clients: []string{"http://c:1"}}
	old := report{cluster: 1, peers: []string{"http://p:1", "http://p:3"}, clients: []string{"http://c:3"}}
	for _, reports := range [][]report{{now}, {old, now, now}, {now, old, now}, {now, now, old}, {now, old}} {
		if got := mostCommon(reports); !slices.Equal(got.clients, now.clients) {
			t.Errorf("mostCommon(%v) = %v", reports, got)
		}
	}
	_, members := fakeCluster(t, ok, ok)
	right, wrong := []string{members[0].url}, []string{members[1].url}
	var peers []string
	for _, urls := range [][]string{wrong, right, right} {
		peers = append(peers, fakePeerOf(t, 1, &peers, func() []string { return urls }).URL)
	}
	s := newSite(t, peers).await(1)
	if got := s.available(); !slices.Equal(got, right) {
		t.Errorf("endpoints %v, want %v", got, right)
	}
}

// P40, P14: the proxy follows new client URLs, and refreshes at once after a failure.
func TestMembersThatMove(t *testing.T) {
	_, members := fakeCluster(t, ok, ok)
	var urls atomic.Pointer[[]string]
	urls.Store(&[]string{members[0].url})
	s := newSite(t, []string{fakePeer(t, 1, func() []string { return *urls.Load() }).URL}).await(1)
	urls.Store(&[]string{members[1].url})
	members[0].close()
	eventually(t, "requests to be served again", func() bool { return s.get("/x").body == "ok" })
	if got := s.available(); !slices.Equal(got, []string{members[1].url}) {
		t.Errorf("%v", got)
	}
}

// R101, P19: a proxy whose own URL is advertised does not send requests to itself for ever, and recovers.
func TestALoopIsCut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := "http://" + listener.Addr().String()
	var urls atomic.Pointer[[]string]
	urls.Store(&[]string{own})
	peer := fakePeer(t, 1, func() []string { return *urls.Load() }).URL
	s := newSiteOn(t, listener, []string{peer}, func(o *Options) { o.RefreshInterval = 100 * time.Millisecond })
	eventually(t, "the loop to be found", func() bool {
		s.get("/v2/keys/x")
		return strings.Contains(s.get(pathEndpoints).body, "leads back to this proxy")
	})
	if a := s.do("PUT", "/v2/keys/x", "value=1"); a.status != 503 && a.status != 508 {
		t.Errorf("R101: %+v", a)
	}
	_, members := fakeCluster(t, ok)
	urls.Store(&[]string{own, members[0].url})
	eventually(t, "the member to be found", func() bool { return s.get("/x").body == "ok" })

	// Two proxies lead to each other, and one of them to a member.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	two := newSiteOn(t, other, []string{fakePeer(t, 1, func() []string { return []string{s.url} }).URL}).await(1)
	urls.Store(&[]string{two.url, members[0].url})
	for range 50 {
		if a := two.get("/x"); a.body != "ok" {
			t.Errorf("R101: through two proxies: %+v", a)
		}
	}
	for range 10 { // s probes two, which asks s
		request, err := http.NewRequest("GET", two.url+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header[headerProxies] = []string{s.id}
		if a, err := receive(request); err != nil || a.status != 508 {
			t.Errorf("a request that has been through the other proxy: %+v, %v", a, err)
		}
		if a := two.get("/x"); a.body != "ok" {
			t.Errorf("R101: through two proxies: %+v", a)
		}
	}
	request, err := http.NewRequest("GET", s.url+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header[headerProxies] = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}
	if a, err := receive(request); err != nil || a.status != 508 {
		t.Errorf("through nine proxies: %+v, %v", a, err)
	}
}

// R104, P6: the list is written atomically, and a list that was damaged otherwise is refused with advice.
func TestClusterFileThatWasCut(t *testing.T) {
	const path = "/data/proxy/cluster"
	fsys := disk.NewMem()
	file := newClusterFile(fsys, "/data/proxy")
	note := &clusterNote{PeerURLs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, ClientURLs: []string{"http://127.0.0.1:3"}, ClusterID: 0xabc}
	if err := file.write(note); err != nil {
		t.Fatal(err)
	}
	whole, err := disk.ReadFile(fsys, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		cut := disk.NewMem()
		if err := cut.MkdirAll("/data/proxy"); err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFile(cut, path, whole[:n]); err != nil {
			t.Fatal(err)
		}
		p, err := New(Options{FS: cut, Dir: "/data/proxy"})
		var refused *ClusterFileError
		switch {
		case err == nil && (len(p.known.PeerURLs) != 2 || p.known.ClusterID != 0xabc):
			t.Errorf("R104: %q was taken for %+v", whole[:n], p.known)
		case err != nil && (!errors.As(err, &refused) || !strings.Contains(err.Error(), "delete the file")):
			t.Errorf("R104: %q: %v", whole[:n], err)
		}
	}
	// After a loss of power at any moment there is the old list or the new one.
	for seed := range uint64(50) {
		crashed := fsys.Clone()
		if err := newClusterFile(crashed, "/data/proxy").write(&clusterNote{PeerURLs: []string{"http://127.0.0.1:3"}, ClusterID: 0xabc}); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{FS: crashed.Crash(seed), Dir: "/data/proxy"}); err != nil {
			t.Errorf("R104: seed %d: %v", seed, err)
		}
	}
	for name, text := range map[string]string{"no peers": `{"PeerURLs":[]}`, "a bad id": `{"PeerURLs":["a"],"ClusterID":"x"}`, "empty": "", "null": "null"} {
		if _, err := parseNote([]byte(text)); err == nil {
			t.Errorf("%s: %q was taken", name, text)
		}
	}
	if old, err := parseNote([]byte(`{"PeerURLs":["http://127.0.0.1:1"]}`)); err != nil || old.ClusterID != 0 || old.ClientURLs != nil {
		t.Errorf("the reference's file: %+v, %v", old, err)
	}
}

// P3, P5, P9: the list is kept, replaces the flags, and is doubted only after long silence.
func TestTheClusterIsRemembered(t *testing.T) {
	cluster, fsys := membertest.Start(t, 2), disk.NewMem()
	keep := func(o *Options) { o.FS = fsys }
	s := newSite(t, cluster.PeerURLs()[:1], keep).await(2)
	if s.KnowsCluster() {
		t.Error("a new proxy knows its cluster")
	}
	eventually(t, "the list", func() bool { note, err := s.file.read(); return err == nil && note != nil && len(note.PeerURLs) == 2 })
	s.stop()
	cluster.Members[0].Stop()
	again := newSite(t, []string{"http://127.0.0.1:1"}, keep).await(1)
	if !again.KnowsCluster() || !strings.Contains(again.log.String(), "from cluster file") {
		t.Error("a proxy that ran before does not know its cluster")
	}
	doubting := &refresher{p: again.Proxy, note: &clusterNote{PeerURLs: []string{"http://b:1"}}, heard: time.Now()}
	if got := doubting.peers(soon(t)); !slices.Equal(got, []string{"http://b:1"}) {
		t.Errorf("P3: %v", got)
	}
	doubting.heard = time.Now().Add(-doubtAfter)
	if got := doubting.peers(soon(t)); !slices.Equal(got, []string{"http://127.0.0.1:1", "http://b:1"}) {
		t.Errorf("P5: after a minute: %v", got)
	}
}

// Members whose peer ports cannot be reached any more are asked at their client ports, only those of the same cluster, also
// after a restart (P11, P12, P39).
func TestMembersAreFollowedByTheirClientURLs(t *testing.T) {
	cluster, fsys := membertest.Start(t, 1), disk.NewMem()
	keep := func(o *Options) { o.FS, o.RefreshInterval = fsys, 10*time.Millisecond }
	s := newSite(t, cluster.PeerURLs(), keep).await(1)
	cluster.Members[0].HidePeerPort()
	c, err := client.New(client.Config{Endpoints: []string{s.url}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.AddMember(soon(t), []string{"http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new member in the list", func() bool {
		note, err := s.file.read()
		return err == nil && note != nil && slices.Contains(note.PeerURLs, "http://127.0.0.1:1")
	})
	if text := s.log.String(); !strings.Contains(text, "could not get cluster response from "+cluster.PeerURLs()[0]) || strings.Contains(text, "could not retrieve") {
		t.Errorf("the log does not tell of the peer port, or of more:\n%s", text)
	}
	s.stop()
	newSite(t, []string{"http://127.0.0.1:1"}, keep).await(1).stop()
	note, err := s.file.read()
	if err != nil {
		t.Fatal(err)
	}
	note.ClusterID++
	if err := s.file.write(note); err != nil {
		t.Fatal(err)
	}
	wrong := newSite(t, nil, keep)
	eventually(t, "the other cluster to be refused", func() bool { return strings.Count(wrong.log.String(), "it belongs to the cluster") > 0 })
	if got := wrong.available(); len(got) != 0 {
		t.Errorf("P12: %v", got)
	}
}

// One client URL is enough to find all others (P39).
func TestOneClientURLIsEnough(t *testing.T) {
	cluster, fsys := membertest.Start(t, 3), disk.NewMem()
	known := &clusterNote{PeerURLs: []string{"http://127.0.0.1:1"}, ClientURLs: []string{"http://127.0.0.1:1", cluster.ClientURLs()[2]}}
	if err := newClusterFile(fsys, "/data/proxy").write(known); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, nil, func(o *Options) { o.FS = fsys }).await(3)
	eventually(t, "the list", func() bool {
		note, err := s.file.read()
		return err == nil && len(note.PeerURLs) == 3 && len(note.ClientURLs) == 3 && note.ClusterID != 0
	})
}

// A proxy that cannot find its first peers ends with an error; one that is stopped meanwhile ends without (P4).
func TestFirstPeers(t *testing.T) {
	wrong := errors.New("the token is unknown")
	s := newSite(t, nil, func(o *Options) {
		o.Peers = func(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	if a := s.get("/v2/keys/"); a.status != 503 {
		t.Errorf("while it waits: %+v", a)
	}
	s.stop()
	p, err := New(Options{FS: disk.NewMem(), Dir: "/p", Log: s.o.Log, Peers: func(context.Context) ([]string, error) { return nil, wrong }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(soon(t)); !errors.Is(err, wrong) {
		t.Errorf("Run = %v", err)
	}
}

// Safe requests are never dropped while members restart one by one. A member that says that it is about to stop, or that
// starts, does not fail a write either.
func TestNothingIsDroppedWhileMembersRestart(t *testing.T) {
	cluster := membertest.Start(t, 3)
	s := newSite(t, cluster.PeerURLs()).await(3)
	for _, key := range []string{"k", "later"} { // with the second write members learn, and write, that the first is committed
		s.do("PUT", "/v2/keys/"+key, "value=1")
		for _, member := range cluster.ClientURLs() {
			eventually(t, "each member to have the key", func() bool {
				a, err := send("GET", member+"/v2/keys/"+key, "")
				return err == nil && a.status == http.StatusOK
			})
		}
	}
	end := make(chan struct{})
	failed := make(chan error, 8)
	var done atomic.Int64
	for n := range cap(failed) {
		target := []string{"/v2/keys/k", "/v2/keys/?recursive=true", "/version", "/v2/members"}[n%4]
		go func() {
			for {
				select {
				case <-end:
					failed <- nil
					return
				default:
				}
				a, err := send("GET", s.url+target, "")
				if err == nil && a.status != 200 {
					err = fmt.Errorf("GET %s = %d %s", target, a.status, a.body)
				}
				if err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		}()
	}
	for range 3 {
		for _, m := range cluster.Members {
			m.Stop()
			m.Start()
			s.await(3)
		}
	}
	close(end)
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d requests", done.Load())
}
