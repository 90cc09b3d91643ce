package api

import (
	"net/http"
	"strings"
	"testing"

	"canopy/etcdserver"
	"canopy/internal/httpserver"
)

func TestChangesOfMembersThatAreRefused(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	const jsonType = "application/json"
	for _, c := range []struct {
		rule, method, path, contentType, body string
		status                                int
		message                               string
	}{
		{"E31c", "POST", "/v2/members", "", `{}`, 415, "Bad Content-Type , accept application/json"},
		{"E31c", "POST", "/v2/members", formType, "", 415, "Bad Content-Type " + formType + ", accept application/json"},
		{"E31d", "POST", "/v2/members", jsonType + "; charset=utf-8", "", 400, "unexpected end of JSON input"},
		{"E31e", "POST", "/v2/members", jsonType, `{"peerURLs":[]}`, 400, "no valid URLs given"},
		{"E31f", "POST", "/v2/members", jsonType, `{"peerURLs":["ftp://1.2.3.4:1"]}`, 400, "URL scheme must be http or https: ftp://1.2.3.4:1"},
		{"E31g", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4"]}`, 400, `URL address does not have the form \"host:port\": http://1.2.3.4`},
		{"R39", "POST", "/v2/members", jsonType, `{"peerURLs":["http://h:99999"]}`, 400, `URL address does not have the form \"host:port\": http://h:99999`},
		{"E31h", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4:1/"]}`, 400, "URL must not contain a path: http://1.2.3.4:1/"},
		{"M20", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4:1"," http://1.2.3.4:1"]}`, 400, "URL is given twice: http://1.2.3.4:1"},
		{"R78", "POST", "/v2/members", jsonType, strings.Repeat("[", 2<<20), 400, "http: request body too large"},
		{"M22", "PUT", "/v2/members/xyz", jsonType, `{"peerURLs":["http://1.2.3.4:1"]}`, 404, "No such member: xyz"},
		{"M2", "DELETE", "/v2/members/0x1", "", "", 404, "No such member: 0x1"},
		{"R39", "POST", "/v2/members/xyz/promote", "", "", 404, "No such member: xyz"},
		{"M2", "DELETE", "/v2/members/00", "", "", 404, "No such member: 0"},
	} {
		header := http.Header{}
		if c.contentType != "" {
			header.Set("Content-Type", c.contentType)
		}
		a := s.send(c.method, c.path, header, strings.NewReader(c.body))
		want := `{"message":"` + c.message + `"}`
		if c.status == http.StatusNoContent {
			want = ""
		}
		if a.status != c.status || a.body != want || a.header.Get("X-Etcd-Cluster-Id") != "4add5" {
			t.Errorf("%s: %s %s %.80s = %d %s, want %d %s", c.rule, c.method, c.path, c.body, a.status, a.body, c.status, want)
		}
	}
}

// Status and text tell the outcome of a change (M15, M18, M22, M25, M26, M28, M34).
func TestOutcomesOfChangesOfMembers(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	const self, body = "/v2/members/2ee3bf4adcf59b4", `{"peerURLs":["http://1.2.3.4:1"]}`
	for _, c := range []struct {
		method, path string
		err          error
		status       int
		body         string
	}{
		{"POST", "/v2/members", nil, 201, `{"id":"abc","name":"","peerURLs":["http://1.2.3.4:1"],"clientURLs":[]}` + "\n"},
		{"PUT", self, nil, 204, ""},
		{"DELETE", self, nil, 204, ""},
		{"POST", self + "/promote", nil, 204, ""},
		{"POST", self + "/promote", &etcdserver.ReconfigurationError{Reason: "no"}, 409, `{"message":"etcdserver: no"}`},
		{"POST", "/v2/members/deadbeef/promote", etcdserver.ErrMemberRemoved, 410, `{"message":"Member permanently removed: deadbeef"}`},
		{"POST", "/v2/members/x", etcdserver.ErrPeerURLExists, 409, `{"message":"etcdserver: peerURL exists"}`},
		{"PUT", "/v2/members/deadbeef", etcdserver.ErrNoSuchMember, 404, `{"message":"No such member: deadbeef"}`},
		{"DELETE", "/v2/members/deadbeef", etcdserver.ErrMemberRemoved, 410, `{"message":"Member permanently removed: deadbeef"}`},
		{"DELETE", "/v2/members/00DEADbeef", etcdserver.ErrMemberRemoved, 410, `{"message":"Member permanently removed: deadbeef"}`},
		{"PUT", "/v2/members/00DEADbeef", etcdserver.ErrNoSuchMember, 404, `{"message":"No such member: deadbeef"}`},
		{"DELETE", self, etcdserver.ErrLastMember, 409, `{"message":"etcdserver: the last member cannot be removed"}`},
		{"DELETE", self, &etcdserver.ReconfigurationError{Reason: "no"}, 409, `{"message":"etcdserver: no"}`},
		{"DELETE", self, etcdserver.ErrTimeout, 500, `{"message":"etcdserver: request timed out"}`},
	} {
		s.member.changed = c.err
		a := s.send(c.method, c.path, http.Header{"Content-Type": {"application/json"}}, strings.NewReader(body))
		if a.status != c.status || a.body != c.body {
			t.Errorf("%s %s after %v = %d %s, want %d %s", c.method, c.path, c.err, a.status, a.body, c.status, c.body)
		}
	}
}
