package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"canopy/etcdserver/api/cluster"
	"canopy/store"
)

// These are the paths of the peer port that other programs read (R1, R2, R4, R5 of peer.md, E44).
func TestPeerPort(t *testing.T) {
	handler := cluster.NewPeer(newSoloMember(store.Options{}))
	cases := []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/members", 200, `[{"id":`},
		{"GET", "/version", 200, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`},
		{"GET", "/health", 200, `{"health":"true"}`},
		{"POST", "/health", 405, "Method Not Allowed\n"},
		{"POST", "/raft/probing", 200, `{"OK":true,"Now":"`},
		{"POST", "/members", 405, "Method Not Allowed\n"},
		{"GET", "/members/", 404, "404 page not found\n"},
		{"GET", "/v2/keys/", 404, "404 page not found\n"},
		{"GET", "/", 404, "404 page not found\n"},
	}
	for _, c := range cases {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, http.NoBody))
		if w.Code != c.status || !strings.HasPrefix(w.Body.String(), c.body) {
			t.Errorf("%s %s = %d %s, want %d %s…", c.method, c.path, w.Code, w.Body, c.status, c.body)
		}
	}
}
