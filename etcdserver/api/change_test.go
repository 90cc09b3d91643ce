package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestChangesOfMembersThatAreRefused(t *testing.T) {
	s := newSite(t, Options{}, Limits{})
	const jsonType, self = "application/json", "/v2/members/2ee3bf4adcf59b4"
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
		{"E31h", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4:1/"]}`, 400, "URL must not contain a path: http://1.2.3.4:1/"},
		{"M20", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4:1"," http://1.2.3.4:1"]}`, 400, "URL is given twice: http://1.2.3.4:1"},
		{"E31i", "POST", "/v2/members/x", jsonType, `{"peerURLs":["http://127.0.0.1:2380"]}`, 409, "etcdserver: peerURL exists"},
		{"R78", "POST", "/v2/members", jsonType, strings.Repeat("[", 2<<20), 400, "http: request body too large"},
		{"E31j", "PUT", "/v2/members/deadbeef", jsonType, `{"peerURLs":["http://1.2.3.4:1"]}`, 404, "No such member: deadbeef"},
		{"E31j", "DELETE", "/v2/members/0x1", "", "", 404, "No such member: 0x1"},
		{"M26", "DELETE", "/v2/members/02EE3BF4ADCF59B4", "", "", 409, "etcdserver: the last member cannot be removed"},
		{"M22", "PUT", self, jsonType, `{"peerURLs":["http://127.0.0.1:2380"]}`, 204, ""},
		{"M15", "POST", "/v2/members", jsonType, `{"peerURLs":["http://1.2.3.4:1"]}`, 501, "changing the members of a cluster is not available yet"},
		{"M22", "PUT", self, jsonType, `{"peerURLs":["http://1.2.3.4:1"]}`, 501, "changing the members of a cluster is not available yet"},
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
