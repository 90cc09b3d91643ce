package api

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"canopy/internal/httpserver"
)

var dateLine = regexp.MustCompile(`Date: [^\r]*\r\n`)

// raw sends one request, and gives the bytes of its answer, without the date. A request with a Pragma is not plain.
func (s *site) raw(method, target, header, form string) string {
	s.t.Helper()
	conn := s.dial(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s", method, target, formType, header, len(form), form))
	conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatalf("%s %s: %v after %q", method, target, err, text)
	}
	return dateLine.ReplaceAllString(string(text), "")
}

// The same requests go to http1, where headers are lines, and to net/http.
func TestBothServersGiveTheSameAnswers(t *testing.T) {
	here, there := newSite(t, Options{}, httpserver.Options{}), newSite(t, Options{}, httpserver.Options{})
	for _, q := range []struct{ method, target, header, form string }{
		{"PUT", "/v2/keys/d/k", "", "value=1"},
		{"PUT", "/v2/keys/d/k", "", "value=2"},
		{"PUT", "/v2/keys/d/k?noValueOnSuccess=true", "", "value=2"},
		{"PUT", "/v2/keys/d/k?prevValue=x", "", "value=3"},
		{"PUT", "/v2/keys/d/k?ttl=x", "", "value=3"},
		{"PUT", "/v2/keys/d/large", "", "value=" + strings.Repeat("<", 3000)},
		{"PUT", "/v2/keys/d/k", "Origin: http://x\r\n", "value=1"},
		{"POST", "/v2/keys/d", "", "value=1"},
		{"GET", "/v2/keys/d/k", "", ""},
		{"GET", "/v2/keys/d/k?quorum=true", "", ""},
		{"GET", "/v2/keys/d/k", "Origin: http://y\r\n", ""},
		{"GET", "/v2/keys/d/large", "", ""},
		{"GET", "/v2/keys/d?recursive=true&sorted=true", "", ""},
		{"GET", "/v2/keys/none", "", ""},
		{"HEAD", "/v2/keys/d/k", "", ""},
		{"HEAD", "/v2/keys/none", "", ""},
		{"DELETE", "/v2/keys/d", "", ""},
		{"DELETE", "/v2/keys/d?recursive=true", "", ""},
	} {
		ours, theirs := here.raw(q.method, q.target, q.header, q.form), there.raw(q.method, q.target, q.header+"Pragma: x\r\n", q.form)
		if ours != theirs || !strings.Contains(ours, "X-Etcd-Cluster-Id: ") {
			t.Errorf("%s %s %s: the answer is\n%q, that of net/http\n%q", q.method, q.target, q.header, ours, theirs)
		}
	}
}
