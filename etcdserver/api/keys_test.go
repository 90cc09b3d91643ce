package api

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"canopy/etcdserver"
	"canopy/internal/httpserver"
	"canopy/internal/memory"
	"canopy/store"
)

func TestAnswersOfKeys(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, c := range []struct {
		rule, method, target, form string
		status                     int
		body                       string
	}{
		{"K38", "GET", "/v2/keys", "", 200, `{"action":"get","node":{"dir":true}}`},
		{"K38", "GET", "/v2/keys/", "", 200, `{"action":"get","node":{"dir":true}}`},
		{"K53", "PUT", "/v2/keys/foo", "value=bar", 201, `{"action":"set","node":{"key":"/foo","value":"bar","modifiedIndex":4,"createdIndex":4}}`},
		{"K36", "GET", "/v2/keys/foo/", "", 200, `{"action":"get","node":{"key":"/foo","value":"bar","modifiedIndex":4,"createdIndex":4}}`},
		{"K10", "PUT", "/v2/keys/foo?value=query", "value=body", 200, `{"action":"set","node":{"key":"/foo","value":"body","modifiedIndex":5,"createdIndex":5},"prevNode":{"key":"/foo","value":"bar","modifiedIndex":4,"createdIndex":4}}`},
		{"K17", "PUT", "/v2/keys/foo?noValueOnSuccess=true", "value=x", 200, `{"action":"set"}`},
		{"K17", "PUT", "/v2/keys/new?noValueOnSuccess=1", "value=x&prevExist=false", 201, `{"action":"create"}`},
		{"K17", "DELETE", "/v2/keys/new?noValueOnSuccess=true", "", 200, `{"action":"delete","node":{"key":"/new","modifiedIndex":8,"createdIndex":7},"prevNode":{"key":"/new","value":"x","modifiedIndex":7,"createdIndex":7}}`},
		{"K20", "PUT", "/v2/keys/a//b/./../c", "value=1", 201, `{"action":"set","node":{"key":"/a/c","value":"1","modifiedIndex":9,"createdIndex":9}}`},
		{"K22", "GET", "/v2/keys/a%2Fc", "", 200, `{"action":"get","node":{"key":"/a/c","value":"1","modifiedIndex":9,"createdIndex":9}}`},
		{"K22", "PUT", "/v2/keys/amp%26%3C%3E%22%5C", "value=1", 201, `{"action":"set","node":{"key":"/amp\u0026\u003c\u003e\"\\","value":"1","modifiedIndex":10,"createdIndex":10}}`},
		{"K11", "DELETE", "/v2/keys/a/c", "prevValue=zzz", 200, `{"action":"delete","node":{"key":"/a/c","modifiedIndex":11,"createdIndex":9},"prevNode":{"key":"/a/c","value":"1","modifiedIndex":9,"createdIndex":9}}`},
		{"K40", "GET", "/v2/keys/nope/a", "", 404, `{"errorCode":100,"message":"Key not found","cause":"/nope","index":11}`},
		{"K41", "GET", "/v2/keys/foo/a", "", 400, `{"errorCode":104,"message":"Not a directory","cause":"/foo","index":11}`},
		{"K65", "PUT", "/v2/keys/foo?prevValue=X&prevIndex=1", "value=y", 412, `{"errorCode":101,"message":"Compare failed","cause":"[X != x] [1 != 6]","index":11}`},
		{"K72", "DELETE", "/v2/keys/?prevValue=x", "", 400, `{"errorCode":107,"message":"Root is read only","cause":"/","index":11}`},
		{"E15", "DELETE", "/v2/keys/a?dir=true", "", 200, `{"action":"delete","node":{"key":"/a","dir":true,"modifiedIndex":12,"createdIndex":9},"prevNode":{"key":"/a","dir":true,"modifiedIndex":9,"createdIndex":9}}`},
		{"E13", "PUT", "/v2/keys/foo?prevExist=false", "value=y", 412, `{"errorCode":105,"message":"Key already exists","cause":"/foo","index":12}`},
		{"K89", "PUT", "/v2/keys/foo", "value=y&ttl=9223372036", 400, `{"errorCode":202,"message":"The given TTL in POST form is not a number","cause":"invalid value for \"ttl\"","index":0}`},
		{"K44", "GET", "/v2/keys/none?quorum=true&wait=true", "", 404, `{"errorCode":100,"message":"Key not found","cause":"/none","index":12}`},
		{"K16", "PUT", "/v2/keys/b21", "value=x&ttl=abc&prevIndex=zz", 400, `{"errorCode":203,"message":"The given index in POST form is not a number","cause":"invalid value for \"prevIndex\"","index":0}`},
	} {
		a := s.do(c.method, c.target, c.form)
		if a.status != c.status || a.body != c.body+"\n" {
			t.Errorf("%s: %s %s %s =\n%d %s, want\n%d %s", c.rule, c.method, c.target, c.form, a.status, a.body, c.status, c.body)
		}
		checkKeysHeaders(t, c.rule+" "+c.target, a)
	}
}

// checkKeysHeaders checks the headers of K31 and E5.
func checkKeysHeaders(t *testing.T, what string, a reply) {
	t.Helper()
	failed := a.status >= 400
	for name, wanted := range map[string]bool{
		"X-Etcd-Cluster-Id": true, "X-Etcd-Index": true, "X-Raft-Index": !failed, "X-Raft-Term": !failed,
	} {
		if (a.header.Get(name) != "") != wanted {
			t.Errorf("%s: status %d, %s: %q", what, a.status, name, a.header.Get(name))
		}
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type: %q", what, got)
	}
	if index := a.header.Get("X-Etcd-Index"); failed && !strings.HasSuffix(a.body, `"index":`+index+"}\n") {
		t.Errorf("R83: %s: X-Etcd-Index %s with %s", what, index, a.body)
	}
}

func TestBodiesThatAreNotForms(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, c := range []struct {
		contentType, body string
		status            int
		part              string
	}{
		{"", "value=one", 201, `"value":""`},
		{"application/json", `{"value":"one"}`, 201, `"value":""`},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nmulti\r\n--b--\r\n", 201, `"value":""`},
		{"Application/X-WWW-Form-URLEncoded; charset=utf-8", "value=one", 201, `"value":"one"`},
		{"foo/", "", 400, `"cause":"mime: expected token after slash","index":0`},
		{";;;", "", 400, `"cause":"mime: no media type","index":0`},
		{formType + "; charset", "value=one", 400, `"cause":"mime: invalid media parameter","index":0`},
	} {
		header := http.Header{}
		if c.contentType != "" {
			header.Set("Content-Type", c.contentType)
		}
		a := s.send("PUT", "/v2/keys/k"+strconv.Itoa(len(c.contentType)), header, strings.NewReader(c.body))
		if a.status != c.status || !strings.Contains(a.body, c.part) {
			t.Errorf("K12, K14: PUT as %q = %d %s, want %d with %s", c.contentType, a.status, a.body, c.status, c.part)
		}
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	s.do("PUT", "/v2/keys/k", "value=one")
	for i := range 100 {
		s.do("PUT", "/v2/keys/big/"+strconv.Itoa(i), "value="+strings.Repeat("x", 1000))
	}
	for _, target := range []string{"/v2/keys/k", "/v2/keys/big", "/v2/keys/missing", "/v2/keys/k?sorted=x", "/v2/keys/k?quorum=true"} {
		get, head := s.do("GET", target, ""), s.do("HEAD", target, "")
		if head.status != get.status || head.body != "" || head.length != int64(len(get.body)) {
			t.Errorf("K8: HEAD %s = %d, length %d, body %q, want %d, %d", target, head.status, head.length, head.body, get.status, len(get.body))
		}
		for _, name := range []string{"Content-Type", "X-Etcd-Index", "X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term"} {
			if head.header.Get(name) != get.header.Get(name) {
				t.Errorf("K8: HEAD %s: %s: %q, want %q", target, name, head.header.Get(name), get.header.Get(name))
			}
		}
	}
	if a := s.do("HEAD", "/v2/keys/k?wait=true", ""); a.status != 400 {
		t.Errorf("K8: HEAD with wait=true = %d, want 400", a.status)
	}
}

func TestRequestsThatKeysRefuses(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, target := range []string{
		"/v2/keysfoo", "/v2/keys/..", "/v2/keys/../members", "/v2/keys/%2e%2e/0/members", "/v2/keys/a/..%2f..%2fx", "/V2/keys", "/v2/keys%2F..%2F..",
	} {
		for _, method := range []string{"GET", "PUT", "PATCH"} {
			a := s.wants(method, target, "", 404, "404 page not found\n")
			if a.header.Get("X-Etcd-Cluster-Id") != "" || a.header.Get("X-Etcd-Index") != "" {
				t.Errorf("K23, E40: %s %s has headers of etcd", method, target)
			}
		}
	}
	for _, method := range []string{"PATCH", "put", "BREW", "TRACE"} {
		a := s.wants(method, "/v2/keys/k", "", 405, "Method Not Allowed\n")
		if a.header.Get("Allow") != "HEAD,GET,PUT,POST,DELETE" || a.header.Get("X-Etcd-Cluster-Id") != "" {
			t.Errorf("K6: %s: %v", method, a.header)
		}
	}
}

func TestLimitsOfRequests(t *testing.T) {
	const limit = 200_000
	budget := memory.New(1<<40, nil)
	s := newSite(t, Options{Memory: budget, FormBytesMax: limit, ValueBytesMax: limit - 1000}, httpserver.Options{})
	form := func(bytes int) string { return "value=x&pad=" + strings.Repeat("p", bytes-len("value=x&pad=")) }
	refused := `{"errorCode":210,"message":"Invalid POST form","cause":"http: POST too large","index":0}` + "\n"
	for _, c := range []struct {
		bytes, status int
	}{{limit - 1, 200}, {limit, 200}, {limit + 1, 400}, {3 * limit, 400}} {
		s.do("PUT", "/v2/keys/k", "value=1")
		for name, body := range map[string]io.Reader{
			"with a length": strings.NewReader(form(c.bytes)),
			"chunked":       io.MultiReader(strings.NewReader(form(c.bytes))),
		} {
			a := s.send("PUT", "/v2/keys/k", http.Header{"Content-Type": {formType}}, body)
			if a.status != c.status || c.status == 400 && a.body != refused {
				t.Errorf("K14, R77: %d bytes %s = %d %s, want %d", c.bytes, name, a.status, a.body, c.status)
			}
		}
	}
	s.wants("PUT", "/v2/keys/k", "value="+strings.Repeat("x", limit-999), 400,
		fmt.Sprintf(`{"errorCode":210,"message":"Invalid POST form","cause":"the value has %d bytes, more than the limit of %d","index":0}`+"\n", limit-999, limit-1000))
	eventually(t, "all memory is given back", func() bool { return budget.Used()%httpserver.ConnectionBytes == 0 })
}

// A node beyond a limit is not made, by PUT or as the child of a POST, and not watched. An existing one can be read, listed
// and deleted.
func TestLimitsOfKeys(t *testing.T) {
	s := newSite(t, Options{KeyDepthMax: 3, KeyBytesMax: 40}, httpserver.Options{})
	long := strings.Repeat("l", 40)
	for _, key := range []string{"/old/b/c/d", "/old/" + long} { // made when other limits were set
		k, err := store.ParseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.member.DoFor(t.Context(), etcdserver.Origin{}, store.Set{Key: k, Value: "v"}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(cause string) string {
		return `{"errorCode":209,"message":"Invalid field","cause":"` + cause + `","index":0}` + "\n"
	}
	deep := refused("the key has more components than the limit of 3")
	before := s.do("GET", "/v2/keys/?recursive=true", "").body
	s.wants("PUT", "/v2/keys/a/b/c/d", "value=1", 400, deep)
	s.wants("PUT", "/v2/keys/old/b/c/d", "value=1", 400, deep)
	s.wants("POST", "/v2/keys/a/b/c", "value=1", 400, deep)
	s.wants("GET", "/v2/keys/a/b/c/d?wait=true", "", 400, deep)
	s.wants("PUT", "/v2/keys/"+long, "value=1", 400, refused("the key has 41 bytes, more than the limit of 40"))
	s.wants("POST", "/v2/keys/"+long[:19], "value=1", 400, refused("the key has 41 bytes, more than the limit of 40"))
	s.wants("GET", "/v2/keys/"+long+"?wait=true", "", 400, refused("the key has 41 bytes, more than the limit of 40"))
	if after := s.do("GET", "/v2/keys/?recursive=true", "").body; after != before {
		t.Errorf("the tree is %s, and was %s", after, before)
	}
	for _, c := range [][3]string{
		{"PUT", "/v2/keys/a/b/c", "201"}, {"POST", "/v2/keys/a/b", "201"}, {"PUT", "/v2/keys/" + long[:39], "201"}, {"POST", "/v2/keys/" + long[:18], "201"},
		{"GET", "/v2/keys/old/b/c/d", "200"}, {"HEAD", "/v2/keys/old/" + long, "200"}, {"GET", "/v2/keys/old?recursive=true", "200"},
		{"DELETE", "/v2/keys/old/b/c/d", "200"}, {"DELETE", "/v2/keys/old/" + long, "200"}, {"DELETE", "/v2/keys/old/b?recursive=true", "200"},
	} {
		if a := s.do(c[0], c[1], ""); fmt.Sprint(a.status) != c[2] {
			t.Errorf("%s %s = %d %s, want %s", c[0], c[1], a.status, a.body, c[2])
		}
	}
}

// A key that no command can name is refused, for each method; the child of a POST counts.
func TestTheDeepestKeys(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	at := func(depth int) string { return "/v2/keys" + strings.Repeat("/a", depth) }
	for _, c := range []struct {
		method string
		depth  int
		status int
	}{
		{"PUT", store.MaxDepth + 1, 400}, {"POST", store.MaxDepth, 400}, {"DELETE", store.MaxDepth + 1, 400}, {"GET", store.MaxDepth + 2, 400},
		{"DELETE", store.MaxDepth, 404}, {"GET", store.MaxDepth + 1, 404},
		{"POST", store.MaxDepth - 1, 201}, {"DELETE", store.MaxDepth, 404},
	} {
		a := s.do(c.method, at(c.depth), "")
		if a.status != c.status || c.status == 400 && !strings.Contains(a.body, `"errorCode":209`) {
			t.Errorf("%s of a key of %d components = %d %.200s, want %d", c.method, c.depth, a.status, a.body, c.status)
		}
	}
}

func TestFailuresOfTheMember(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, c := range []struct {
		err    error
		status int
		code   int
	}{
		{etcdserver.ErrTimeout, 500, 300},
		{etcdserver.ErrTimeoutLeaderFail, 500, 300},
		{etcdserver.ErrTimeoutConnection, 500, 300},
		{etcdserver.ErrStopped, 500, 300},
		{etcdserver.ErrNoSpace, 507, 300},
		{etcdserver.ErrTooBusy, 503, 300},
		{etcdserver.ErrTooLarge, 400, 210},
		{fmt.Errorf("wrapped: %w", etcdserver.ErrNoSpace), 507, 300},
	} {
		s.member.failDo.Store(&c.err)
		want := fmt.Sprintf(`{"errorCode":%d,"message":%q,"cause":%q,"index":0}`+"\n", c.code, store.Code(c.code).Message(), c.err)
		a := s.wants("PUT", "/v2/keys/k", "value=1", c.status, want)
		checkKeysHeaders(t, c.err.Error(), a)
	}
}

func TestLargeListingsAreCompressedOnRequest(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for i := range 300 {
		s.do("PUT", "/v2/keys/d/"+strconv.Itoa(i), "value="+strings.Repeat("x", 100))
	}
	plain := s.do("GET", "/v2/keys/d", "")
	asked := s.send("GET", "/v2/keys/d", http.Header{"Accept-Encoding": {"br, gzip;q=0.5"}}, nil)
	if asked.header.Get("Content-Encoding") != "gzip" || len(asked.body) > len(plain.body)/2 {
		t.Errorf("a large listing: %v, %d bytes instead of %d", asked.header, len(asked.body), len(plain.body))
	}
	for _, accept := range []string{"gzip;q=0", "identity", "br", ""} {
		a := s.send("GET", "/v2/keys/d", http.Header{"Accept-Encoding": {accept}}, nil)
		if a.header.Get("Content-Encoding") != "" || a.body != plain.body {
			t.Errorf("Accept-Encoding %q: %v, %d bytes, want %d", accept, a.header, len(a.body), len(plain.body))
		}
	}
	if a := s.send("GET", "/v2/keys/d/1", http.Header{"Accept-Encoding": {"gzip"}}, nil); a.header.Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

func TestGetAllocatesOnce(t *testing.T) {
	h := New(newSoloMember(store.Options{}), Options{})
	w := &nullWriter{header: http.Header{}}
	h.ServeHTTP(w, request(t, "PUT", "/v2/keys/k", "value=1"))
	r := request(t, "GET", "/v2/keys/k", "")
	got := testing.AllocsPerRun(1000, func() {
		w.reset()
		h.ServeHTTP(w, r)
	})
	if got > 2 { // the listing; the pool may be emptied at any time
		t.Errorf("a GET allocates %v times, want 1", got)
	}
}
