// Package membertest runs real members in a test: the code of the program, with disks in memory and ports of 127.0.0.1.
//
//	cluster := membertest.Start(t, 3)
//	cluster.Members[0].Stop()
//	…
//	cluster.Members[0].Start()
//
// A stopped member keeps its disk and its port numbers. The test stops the members that still run.
package membertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/etcdserver"
	"canopy/etcdserver/api"
	"canopy/etcdserver/api/cluster"
	"canopy/internal/disk"
	"canopy/internal/httpserver"
	"canopy/rafthttp"
	"canopy/store"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// TB is what a member needs of its test: any testing.TB has it.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Cluster is a cluster whose members run in this process.
type Cluster struct {
	Members []*Member
}

// A Member runs or is stopped.
type Member struct {
	ClientURL string
	PeerURL   string

	t       TB
	name    string
	cluster map[string][]string
	disk    *disk.Mem
	history int
	peers   *http.Server
	end     func()
}

// Start runs a new cluster, and returns when all members serve.
func Start(t TB, n int) *Cluster { return StartWith(t, n, 0) }

// StartWith is Start, for members with a history of so many events; 0: the default.
func StartWith(t TB, n, historyEvents int) *Cluster {
	t.Helper()
	c, urls := &Cluster{}, map[string][]string{}
	free := freeURLs(t, 2*n)
	for i := range n {
		m := &Member{t: t, name: fmt.Sprintf("m%d", i), ClientURL: free[2*i], PeerURL: free[2*i+1], cluster: urls, disk: disk.NewMem(), history: historyEvents}
		urls[m.name] = []string{m.PeerURL}
		c.Members = append(c.Members, m)
	}
	var ready []<-chan struct{}
	for _, m := range c.Members {
		ready = append(ready, m.launch())
	}
	for _, each := range ready {
		await(t, each)
	}
	return c
}

// ClientURLs are the client URLs of all members.
func (c *Cluster) ClientURLs() []string {
	var urls []string
	for _, m := range c.Members {
		urls = append(urls, m.ClientURL)
	}
	return urls
}

// PeerURLs are the peer URLs of all members.
func (c *Cluster) PeerURLs() []string {
	var urls []string
	for _, m := range c.Members {
		urls = append(urls, m.PeerURL)
	}
	return urls
}

// freeURLs have ports on which nobody listens. The system does not give them to outgoing connections, which might otherwise
// have one while a member is stopped.
func freeURLs(t TB, n int) (urls []string) {
	t.Helper()
	const firstPort, lastPort = 10_000, 32_000
	for range 1000 {
		if len(urls) == n {
			return urls
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort)))
		if err == nil {
			defer l.Close() // after all were found, so that they differ
			urls = append(urls, "http://"+l.Addr().String())
		}
	}
	t.Fatalf("no %d ports are free", n)
	return nil
}

func await(t TB, ready <-chan struct{}) {
	t.Helper()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatalf("a member is not ready after %v", patience)
	}
}

// Start runs a stopped member, and returns when it serves.
func (m *Member) Start() {
	m.t.Helper()
	await(m.t, m.launch())
}

// Stop stops a member like a signal: watches end with a complete answer, other requests are cut.
func (m *Member) Stop() {
	if m.end != nil {
		m.end()
		m.end = nil
	}
}

// HidePeerPort closes the peer port of a member until it is started again, like a firewall.
func (m *Member) HidePeerPort() {
	m.peers.Close() // fails if the listener was closed before: no matter
}

// launch opens and serves the member.
func (m *Member) launch() <-chan struct{} {
	m.t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	var transport *rafthttp.Transport
	member, err := etcdserver.Open(etcdserver.Options{
		FS: m.disk, DataDir: "/data", Name: m.name, ClientURLs: []string{m.ClientURL}, PeerURLs: []string{m.PeerURL},
		Bootstrap: func() (etcdserver.Bootstrap, error) {
			return etcdserver.Bootstrap{Cluster: m.cluster, Token: m.t.Name()}, nil
		},
		Transport: func(self rafthttp.Identity, owner rafthttp.Owner) etcdserver.Transport {
			transport = rafthttp.New(rafthttp.Options{
				Self: self, ServerVersion: etcdserver.APIVersion, PeerURLs: func() []string { return []string{m.PeerURL} },
				Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, Owner: owner, Log: logrus.NewEntry(logger),
			})
			return transport
		},
		AutoPromote: true, Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, SegmentBytes: 1 << 20,
		Store: store.Options{HistoryEvents: m.history}, Log: logger,
	})
	if err != nil {
		m.t.Fatalf("open %s: %v", m.name, err)
	}
	clients, peers := m.listen(m.ClientURL), m.listen(m.PeerURL)
	handler := api.New(member, api.Options{})
	m.peers = &http.Server{Handler: peerHandler(transport, cluster.NewPeer(member))}
	servers := []interface {
		Serve(net.Listener) error
		Close() error
	}{httpserver.New(handler, httpserver.Options{}), m.peers}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := member.Run(ctx); err != nil && ctx.Err() == nil {
			m.t.Errorf("%s ended: %v", m.name, err)
		}
	})
	for n, listener := range []net.Listener{clients, peers} {
		running.Go(func() {
			if err := servers[n].Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				m.t.Errorf("serve %s: %v", m.name, err)
			}
		})
	}
	m.end = func() {
		closing, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Close(closing); err != nil {
			m.t.Errorf("watches of %s are left: %v", m.name, err)
		}
		for _, s := range servers {
			s.Close() // fails if a listener was closed before: no matter
		}
		stop()
		running.Wait()
	}
	m.t.Cleanup(m.Stop)
	return member.Ready()
}

// listen takes the port of a URL, which may take a moment to become free.
func (m *Member) listen(url string) net.Listener {
	m.t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
	return l
}

// peerHandler serves members, and what others ask on the peer port.
func peerHandler(members *rafthttp.Transport, others http.Handler) http.Handler {
	raft := members.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/canopy/peer/") {
			raft.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}
