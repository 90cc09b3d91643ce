package proxy

import (
	"io"
	"net"
	"strings"
	"testing"

	"canopy/client/membertest"
	"canopy/internal/cuttest"
)

// TestNothingIsDoneForACutRequest sends requests of every type, framing and method through a proxy, cut anywhere in
// the body.
func TestNothingIsDoneForACutRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	s.do("PUT", "/v2/keys/k", "value=kept")
	index := func() string { return s.get("/v2/keys/k").header.Get("X-Etcd-Index") }
	before := index()
	for _, method := range []string{"PUT", "POST", "DELETE", "GET"} {
		requests := cuttest.Requests(method, "/v2/keys/k?value=q")
		for _, r := range requests {
			for _, n := range r.Cuts() {
				if a := r.Cut(t, s.addr, n); !cuttest.IsRefused(a) || !strings.Contains(a, "Connection: close\r\n") {
					t.Errorf("%s, cut after %d bytes: %s", r.Name, n, a)
				}
			}
			r.Leave(t, s.addr, 5, true)
		}
	}
	if a := (cuttest.Requests("PUT", "/v2/members/1"))[0].Cut(t, s.addr, 1); !strings.HasSuffix(a, `{"message":"unexpected EOF"}`) {
		t.Errorf("a cut change of a member = %s", a)
	}
	if after := index(); after != before {
		t.Errorf("cut requests have changed something: %s, not %s", after, before)
	}
	whole := cuttest.Requests("PUT", "/v2/keys/k")
	for _, r := range whole {
		if status := r.Whole(t, s.addr); status != 200 {
			t.Errorf("%s: all of it: %d", r.Name, status)
		}
	}
}

// The body is cut while it is being sent to the member.
func TestACutLargeBodyIsNotWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, membertest.Start(t, 1).PeerURLs()).await(1)
	part := strings.Repeat("v", 300_000)
	for name, framing := range map[string]string{
		"a length": "Content-Length: 1000000\r\n\r\nvalue=" + part,
		"chunks":   "Transfer-Encoding: chunked\r\n\r\n6\r\nvalue=\r\n493e0\r\n" + part + "\r\n",
	} {
		for _, contentType := range []string{"application/x-www-form-urlencoded", "application/json"} {
			conn := s.dial("PUT /v2/keys/large HTTP/1.1\r\nHost: h\r\nContent-Type: " + contentType + "\r\n" + framing)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			var answer strings.Builder
			if _, err := io.Copy(&answer, conn); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !cuttest.IsRefused(answer.String()) {
				t.Errorf("P34: %s with %s, cut: %s", contentType, name, answer.String())
			}
		}
	}
	if a := s.get("/v2/keys/large"); a.status != 404 {
		t.Errorf("a cut body was written: %d %.100s", a.status, a.body)
	}
}
