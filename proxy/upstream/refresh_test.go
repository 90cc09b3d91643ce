package upstream

import (
	"context"
	"errors"
	"fmt"
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
	"canopy/proxy/clustertest"
)

// P11, P12: an answer of another cluster, or none at all, changes nothing.
func TestTheLastGoodListIsKept(t *testing.T) {
	_, members := clustertest.Start(t, clustertest.OK, clustertest.OK)
	var cluster atomic.Uint64
	var urls atomic.Pointer[[]string]
	cluster.Store(0xa)
	urls.Store(&[]string{members[0].URL})
	peer := httptest.NewServer(nil)
	defer peer.Close()
	peer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", fmt.Sprintf("%x", cluster.Load()))
		fmt.Fprintf(w, `[{"id":1,"peerURLs":[%q],"clientURLs":[%q]}]`, peer.URL, (*urls.Load())[0])
	})
	s := newSite(t, []string{peer.URL}, func(o *Options) { o.RefreshInterval = 5 * time.Millisecond }).await(1)
	cluster.Store(0xb)
	urls.Store(&[]string{members[1].URL})
	clustertest.Eventually(t, "the other cluster to be refused", func() bool { return strings.Contains(s.log.String(), "it belongs to the cluster b") })
	if got := s.available(); !slices.Equal(got, []string{members[0].URL}) {
		t.Errorf("P12: %v", got)
	}
	peer.CloseClientConnections()
	peer.Config.Handler = http.NotFoundHandler()
	clustertest.Eventually(t, "a refresh without an answer", func() bool { return strings.Contains(s.log.String(), "could not retrieve cluster information") })
	if got := s.available(); !slices.Equal(got, []string{members[0].URL}) {
		t.Errorf("P11: %v", got)
	}
}

// A member that has not published its client URLs is starting: the proxy refreshes sooner.
func TestAStartingMemberIsFoundSoon(t *testing.T) {
	_, members := clustertest.Start(t, clustertest.OK, clustertest.OK)
	var begun atomic.Bool
	peer := httptest.NewServer(nil)
	defer peer.Close()
	peer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", "a")
		second := "[]"
		if begun.Load() {
			second = fmt.Sprintf("[%q]", members[1].URL)
		}
		fmt.Fprintf(w, `[{"id":1,"peerURLs":[%q],"clientURLs":[%q]},{"id":2,"peerURLs":["http://127.0.0.1:1"],"clientURLs":%s}]`, peer.URL, members[0].URL, second)
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
	_, members := clustertest.Start(t, clustertest.OK, clustertest.OK)
	right, wrong := []string{members[0].URL}, []string{members[1].URL}
	var peers []string
	for _, urls := range [][]string{wrong, right, right} {
		peers = append(peers, clustertest.PeerOf(t, 1, &peers, func() []string { return urls }).URL)
	}
	s := newSite(t, peers).await(1)
	if got := s.available(); !slices.Equal(got, right) {
		t.Errorf("endpoints %v, want %v", got, right)
	}
}

// Members whose peer ports cannot be reached any more are asked at their client ports, only those of the same cluster, also
// after a restart (P11, P12, P39).
func TestMembersAreFollowedByTheirClientURLs(t *testing.T) {
	cluster, fsys := membertest.Start(t, 1), disk.NewMem()
	keep := func(o *Options) { o.FS, o.RefreshInterval = fsys, 10*time.Millisecond }
	s := newSite(t, cluster.PeerURLs(), keep).await(1)
	cluster.Members[0].HidePeerPort()
	c, err := client.New(client.Config{Endpoints: cluster.ClientURLs()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.AddMember(soon(t), []string{"http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the new member in the list", func() bool {
		known, err := s.file.read()
		return err == nil && known != nil && slices.Contains(known.PeerURLs, "http://127.0.0.1:1")
	})
	if text := s.log.String(); !strings.Contains(text, "could not get cluster response from "+cluster.PeerURLs()[0]) || strings.Contains(text, "could not retrieve") {
		t.Errorf("the log does not tell of the peer port, or of more:\n%s", text)
	}
	s.stop()
	newSite(t, []string{"http://127.0.0.1:1"}, keep).await(1).stop()
	known, err := s.file.read()
	if err != nil {
		t.Fatal(err)
	}
	known.ClusterID++
	if err := s.file.write(known); err != nil {
		t.Fatal(err)
	}
	wrong := newSite(t, nil, keep)
	clustertest.Eventually(t, "the other cluster to be refused", func() bool { return strings.Count(wrong.log.String(), "it belongs to the cluster") > 0 })
	if got := wrong.available(); len(got) != 0 {
		t.Errorf("P12: %v", got)
	}
}

// One client URL is enough to find all others (P39).
func TestOneClientURLIsEnough(t *testing.T) {
	cluster, fsys := membertest.Start(t, 3), disk.NewMem()
	known := &record{PeerURLs: []string{"http://127.0.0.1:1"}, ClientURLs: []string{"http://127.0.0.1:1", cluster.ClientURLs()[2]}}
	if err := newClusterFile(fsys, "/data/proxy").write(known); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, nil, func(o *Options) { o.FS = fsys }).await(3)
	clustertest.Eventually(t, "the list", func() bool {
		known, err := s.file.read()
		return err == nil && len(known.PeerURLs) == 3 && len(known.ClientURLs) == 3 && known.ClusterID != 0
	})
}

// A proxy that cannot find its first peers ends with an error; one that is stopped meanwhile ends without (P4).
func TestFirstPeers(t *testing.T) {
	wrong := errors.New("the token is unknown")
	s := newSite(t, nil, func(o *Options) {
		o.Peers = func(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	if e := s.Next(nil); e != nil {
		t.Errorf("while it waits: %s", e.URL)
	}
	s.stop()
	u, err := New(Options{FS: disk.NewMem(), Dir: "/p", Log: s.o.Log, Peers: func(context.Context) ([]string, error) { return nil, wrong }})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Run(soon(t)); !errors.Is(err, wrong) {
		t.Errorf("Run = %v", err)
	}
}
