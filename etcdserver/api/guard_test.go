package api

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"canopy/internal/httpserver"
	"canopy/internal/middleware"
)

func TestOptionsIsAnsweredEverywhere(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, target := range []string{"/v2/keys/k", "/v2/keys/../x", "/version", "/nothing", "/v2/members"} {
		a := s.wants("OPTIONS", target, "", 200, "")
		if a.header.Get("X-Etcd-Cluster-Id")+a.header.Get("Content-Type")+a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("K7, S47: OPTIONS %s: %v", target, a.header)
		}
	}
}

func TestOrigins(t *testing.T) {
	const ours, foreign = "http://app.example", "http://evil.example"
	for _, c := range []struct {
		name    string
		origins []string
		origin  string
		method  string
		status  int
		allowed string // Access-Control-Allow-Origin
		vary    string
	}{
		{"no Origin writes", nil, "", "PUT", 201, "", ""},
		{"no Origin writes past a list", []string{ours}, "", "PUT", 201, "", "Origin"},
		{"a foreign page reads, but may not see it", nil, foreign, "GET", 404, "", ""},
		{"a foreign page may not write", nil, foreign, "PUT", 403, "", ""},
		{"nor delete", []string{ours}, foreign, "DELETE", 403, "", "Origin"},
		{"nor post a form", nil, "null", "POST", 403, "", ""},
		{"an allowed one writes", []string{ours}, ours, "PUT", 201, ours, "Origin"},
		{"origins are compared exactly", []string{ours}, ours + ":80", "PUT", 403, "", "Origin"},
		{"everybody is allowed", []string{"*"}, foreign, "PUT", 201, "*", ""},
		{"also without Origin", []string{"*"}, "", "GET", 404, "*", ""},
		{"errors carry the headers", []string{ours}, ours, "GET", 404, ours, "Origin"},
		{"preflight", []string{ours}, ours, "OPTIONS", 200, ours, "Origin"},
		{"the server's own pages write", nil, "self", "PUT", 201, "", ""},
	} {
		s := newSite(t, Options{Origins: c.origins}, httpserver.Options{})
		header := http.Header{}
		switch c.origin {
		case "":
		case "self":
			header.Set("Origin", "http://"+s.addr)
		default:
			header.Set("Origin", c.origin)
		}
		a := s.send(c.method, "/v2/keys/k", header, nil)
		if a.status != c.status || a.header.Get("Access-Control-Allow-Origin") != c.allowed || a.header.Get("Vary") != c.vary {
			t.Errorf("S44, R73: %s: %d %v, want %d, allowed %q, Vary %q", c.name, a.status, a.header, c.status, c.allowed, c.vary)
		}
		if c.allowed != "" && (a.header.Get("Access-Control-Expose-Headers") != "X-Etcd-Index, X-Raft-Index, X-Raft-Term, X-Etcd-Cluster-Id" || a.header.Get("Access-Control-Allow-Headers") != "accept, content-type, authorization") {
			t.Errorf("S45: %s: %v", c.name, a.header)
		}
	}
}

func TestHostsOfOthersAreRefused(t *testing.T) {
	allow := func(host string, loopback bool) bool {
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		return name == "" || name == "127.0.0.1" || name == "localhost" || !loopback
	}
	s := newSite(t, Options{AllowHost: allow}, httpserver.Options{})
	for host, status := range map[string]int{"localhost": 404, "127.0.0.1:2379": 404, "evil.example": 421, "evil.example:2379": 421} {
		for range 2 { // also with the remembered host
			if a := s.send("GET", "/v2/keys/k", http.Header{"Host": {host}}, nil); a.status != status {
				t.Errorf("R73: Host %s = %d %s, want %d", host, a.status, a.body, status)
			}
		}
	}
	s.wants("GET", "/version", "", 200, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`)
}

func TestAccessLogTellsEachRequest(t *testing.T) {
	told := make(chan middleware.Access, 10)
	s := newSite(t, Options{AccessLog: func(a middleware.Access) { told <- a }}, httpserver.Options{})
	s.do("PUT", "/v2/keys/k", "value=1")
	s.do("GET", "/nothing", "")
	_, _, conn := s.open("/v2/keys/k?wait=true&stream=true")
	conn.Close()
	for _, want := range []middleware.Access{
		{Method: "PUT", Path: "/v2/keys/k", Status: 201, Bytes: 84},
		{Method: "GET", Path: "/nothing", Status: 404, Bytes: 19},
		{Method: "GET", Path: "/v2/keys/k", Status: 200},
	} {
		got := <-told
		if !strings.HasPrefix(got.RemoteAddr, "127.0.0.1:") || got.Start.IsZero() {
			t.Errorf("S38: %+v", got)
		}
		if got.Method != want.Method || got.Path != want.Path || got.Status != want.Status || got.Bytes != want.Bytes {
			t.Errorf("S38: told %+v, want %+v", got, want)
		}
	}
}
