package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProxyFlags(t *testing.T) {
	want := Proxy{ProxyOff, 5 * time.Second, 30 * time.Second, time.Second, 5 * time.Second, 0}
	if diff := cmp.Diff(want, mustParse(t, "", "").Config.Proxy); diff != "" {
		t.Errorf("3.3: defaults: %s", diff)
	}
	argv := "--proxy=readonly --proxy-failure-wait=100 --proxy-refresh-interval=1s --proxy-dial-timeout=0 --proxy-write-timeout=0 --proxy-read-timeout=5"
	want = Proxy{ProxyReadonly, 100 * time.Millisecond, time.Second, 0, 0, 5 * time.Millisecond}
	if diff := cmp.Diff(want, mustParse(t, argv, "").Config.Proxy); diff != "" {
		t.Errorf("3.3: %s: %s", argv, diff)
	}
	mustParse(t, "--proxy=on --listen-client-urls=http://127.0.0.1:1", "") // F24: it advertises nothing
}

func TestFirstPeerURLs(t *testing.T) {
	c := mustParse(t, "--proxy=on --initial-cluster=b=http://b:1,a=http://a:2,a=http://a:1", "").Config
	urls, err := c.FirstPeerURLs()
	if got := strings.Join(urls, " "); err != nil || got != "http://a:1 http://a:2 http://b:1" {
		t.Errorf("P3: FirstPeerURLs = %s, %v", got, err)
	}
	if _, err := mustParse(t, "--proxy=on --initial-cluster=b=foo", "").Config.FirstPeerURLs(); err == nil {
		t.Error("F27: a list with a bad URL was taken")
	}
}
