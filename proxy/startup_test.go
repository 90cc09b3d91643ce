package proxy

import (
	"context"
	"testing"
	"time"

	"canopy/proxy/clustertest"
)

// At its start a proxy lets requests wait until it knows a member that answers, for at most the configured time.
func TestRequestsWaitForTheFirstEndpoint(t *testing.T) {
	t.Parallel()
	peer, _ := clustertest.Start(t, clustertest.OK)
	found := make(chan struct{})
	s := newSite(t, nil, func(o *Options) {
		o.StartupGrace = clustertest.Patience
		o.Peers = func(ctx context.Context) ([]string, error) {
			select {
			case <-found:
			case <-ctx.Done():
			}
			return []string{peer}, ctx.Err()
		}
	})
	answers := make(chan answer)
	for _, method := range []string{"GET", "PUT"} {
		go func() {
			a, err := send(method, s.url+"/v2/keys/k", "value=1")
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	clustertest.Eventually(t, "both to wait", func() bool { return s.startup.waiting.Load() == 2 })
	close(found)
	for range 2 {
		if a := <-answers; a.status != 200 {
			t.Errorf("a request that waited = %d %s", a.status, a.body)
		}
	}
	late := newSite(t, []string{"http://127.0.0.1:1"}, func(o *Options) { o.StartupGrace = 50 * time.Millisecond })
	if a := late.get("/v2/keys/k"); a.status != 503 || a.header.Get("Retry-After") != "1" {
		t.Errorf("when the time is over: %d %v", a.status, a.header)
	}
}
