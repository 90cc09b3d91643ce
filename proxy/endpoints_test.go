package proxy

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/proxy/clustertest"
	"canopy/proxy/upstream"
)

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
	clustertest.Eventually(t, "the endpoint to be unavailable", func() bool { return slices.Equal(s.available(), order[1:]) })
	if a := s.get(pathEndpoints); !strings.Contains(a.body, `"unavailable":[{"endpoint":"`+order[0]+`","reason":"`) {
		t.Errorf("P44: %s", a.body)
	}
	for range 20 {
		s.do("GET", "/v2/keys/", "")
	}
	m.Start()
	clustertest.Eventually(t, "the endpoint to come back", func() bool { return slices.Equal(s.available(), order) })
	clustertest.Eventually(t, "the log to say so", func() bool { return strings.Contains(s.log.String(), order[0]+" available") })
	for _, line := range []string{"marked endpoint " + order[0] + " unavailable", "marked endpoint " + order[0] + " available"} {
		if n := strings.Count(s.log.String(), line); n != 1 {
			t.Errorf("%q was logged %d times", line, n)
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
	peer := clustertest.Peer(t, 1, func() []string { return []string{"http://" + frozen.Addr().String(), good} }).URL
	s := newSite(t, []string{peer}, func(o *Options) { o.Election = 10 * time.Millisecond })
	clustertest.Eventually(t, "the frozen endpoint to be unavailable", func() bool { return slices.Equal(s.available(), []string{good}) })

	late := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour; o.Election = -2450 * time.Millisecond }).await(2)
	for _, method := range []string{"GET", "PUT"} {
		a := late.do(method, "/v2/keys/k", "value=1")
		if a.status >= 500 && (method == "GET" || !strings.Contains(a.body, "outcome is unknown")) {
			t.Errorf("%s = %+v", method, a)
		}
	}
}

// P17: an endpoint that does not answer while another one does becomes unavailable.
func TestASilentEndpointIsUnavailable(t *testing.T) {
	silent := newRaw(t, func(string) string { return "" })
	_, members := clustertest.Start(t, clustertest.OK)
	peer := clustertest.Peer(t, 1, func() []string { return []string{silent.url, members[0].URL} }).URL
	clustertest.Eventually(t, "the silent endpoint to be the first choice", func() bool {
		s := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour }).await(2)
		isFirst := s.cluster.Endpoints()[0].URL == silent.url
		if a := s.get("/x"); a.body != "ok" {
			t.Errorf("%+v", a)
		}
		if marked := "marked endpoint " + silent.url + " unavailable"; isFirst && !strings.Contains(s.log.String(), marked) {
			t.Errorf("the log lacks %q", marked) // a probe, which it answers, may have made it available again
		}
		return isFirst
	})
}

// P40, P14: the proxy follows new client URLs, and refreshes at once after a failure.
func TestMembersThatMove(t *testing.T) {
	_, members := clustertest.Start(t, clustertest.OK, clustertest.OK)
	var urls atomic.Pointer[[]string]
	urls.Store(&[]string{members[0].URL})
	s := newSite(t, []string{clustertest.Peer(t, 1, func() []string { return *urls.Load() }).URL}).await(1)
	urls.Store(&[]string{members[1].URL})
	members[0].Close()
	clustertest.Eventually(t, "requests to be served again", func() bool { return s.get("/x").body == "ok" })
	if got := s.available(); !slices.Equal(got, []string{members[1].URL}) {
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
	peer := clustertest.Peer(t, 1, func() []string { return *urls.Load() }).URL
	s := newSiteOn(t, listener, []string{peer}, func(o *Options) { o.RefreshInterval = 100 * time.Millisecond })
	clustertest.Eventually(t, "the loop to be found", func() bool {
		s.get("/v2/keys/x")
		return strings.Contains(s.get(pathEndpoints).body, "leads back to this proxy")
	})
	if a := s.do("PUT", "/v2/keys/x", "value=1"); a.status != 503 && a.status != 508 {
		t.Errorf("R101: %+v", a)
	}
	_, members := clustertest.Start(t, clustertest.OK)
	urls.Store(&[]string{own, members[0].URL})
	clustertest.Eventually(t, "the member to be found", func() bool { return s.get("/x").body == "ok" })

	// Two proxies lead to each other, and one of them to a member.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	two := newSiteOn(t, other, []string{clustertest.Peer(t, 1, func() []string { return []string{s.url} }).URL}).await(1)
	urls.Store(&[]string{two.url, members[0].URL})
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
		request.Header[upstream.HeaderProxies] = []string{s.id}
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
	request.Header[upstream.HeaderProxies] = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}
	if a, err := receive(request); err != nil || a.status != 508 {
		t.Errorf("through nine proxies: %+v, %v", a, err)
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
			clustertest.Eventually(t, "each member to have the key", func() bool {
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
