package upstream

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/proxy/clustertest"
)

// site is a cluster that a test watches.
type site struct {
	*Cluster
	t    testing.TB
	log  *clustertest.Log
	stop func()
}

// newSite runs a cluster that is found by these peer URLs. adjust may change the options.
func newSite(t testing.TB, peers []string, adjust ...func(*Options)) *site {
	t.Helper()
	s := &site{t: t, log: &clustertest.Log{}}
	o := Options{
		FS: disk.NewMem(), Dir: "/data/proxy", Peers: func(context.Context) ([]string, error) { return peers, nil },
		FailureWait: 200 * time.Millisecond, RefreshInterval: time.Minute, Log: s.log.Logger(),
	}
	for _, each := range adjust {
		each(&o)
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster = u
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := u.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

// await waits until this many endpoints are available.
func (s *site) await(n int) *site {
	s.t.Helper()
	clustertest.Eventually(s.t, fmt.Sprintf("%d endpoints", n), func() bool { return len(s.available()) == n })
	return s
}

// available gives the available endpoints, the first choice first.
func (s *site) available() (urls []string) {
	for _, e := range s.Endpoints() {
		if e.IsAvailable() {
			urls = append(urls, e.URL)
		}
	}
	return urls
}

// soon is a context for what must end within a test.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	t.Cleanup(cancel)
	return ctx
}
