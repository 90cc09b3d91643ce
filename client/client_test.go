package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

// patience is how long a test waits for what has to happen.
const patience = 2 * time.Minute

func newClient(t testing.TB, endpoints ...string) *client.Client {
	t.Helper()
	return newClientOf(t, client.Config{Endpoints: endpoints})
}

func newClientOf(t testing.TB, config client.Config) *client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must gives a response, or ends the test.
func must(t testing.TB, r *client.Response, err error) *client.Response {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeys(t *testing.T) {
	c, ctx := newClient(t, membertest.Start(t, 1).ClientURLs()...), soon(t)
	for _, key := range []string{"/plain", "/with space", "/a%2Fb", "/ü/☃", "/q?x=1&y", "/semi;colon", "/plus+", "/h#sh", "/deep/er/still"} {
		r, err := c.Set(ctx, key, "value of "+key, client.SetOptions{})
		r = must(t, r, err)
		if r.Action != "set" || r.Node.Key != key || r.PrevNode != nil || r.Index != r.Node.ModifiedIndex || r.RaftIndex == 0 || r.RaftTerm == 0 || r.ClusterID == 0 {
			t.Errorf("Set(%q) = %+v, %+v", key, r, r.Node)
		}
		r, err = c.Get(ctx, key, client.GetOptions{Quorum: true})
		if r = must(t, r, err); r.Node.Key != key || r.Node.Value != "value of "+key {
			t.Errorf("Get(%q) = %+v", key, r.Node)
		}
	}
	r, err := c.Set(ctx, "/plain", "bytes \xff\x00&=%", client.SetOptions{TTL: 1500 * time.Millisecond, PrevValue: "value of /plain"})
	if r = must(t, r, err); r.Action != "compareAndSwap" || r.Node.TTL != 2 || r.Node.Expiration == nil || r.PrevNode.Value != "value of /plain" {
		t.Errorf("a swap = %+v, %+v", r, r.Node)
	}
	r, err = c.Set(ctx, "/plain", "", client.SetOptions{TTL: time.Minute, Refresh: true, PrevExist: client.Must})
	if r = must(t, r, err); r.Action != "update" || r.Node.TTL != 60 || !strings.HasPrefix(r.Node.Value, "bytes") {
		t.Errorf("a refresh = %+v, %+v", r, r.Node)
	}
	r, err = c.Set(ctx, "/plain", "x", client.SetOptions{Brief: true})
	if r = must(t, r, err); r.Action != "set" || r.Node != nil || r.PrevNode != nil || r.Index == 0 {
		t.Errorf("a brief answer = %+v", r)
	}
	for range 3 {
		r, err = c.CreateInOrder(ctx, "/queue", "job", time.Hour)
		if r = must(t, r, err); r.Action != "create" || r.Node.TTL != 3600 {
			t.Errorf("in order: %+v", r.Node)
		}
	}
	r, err = c.Get(ctx, "/", client.GetOptions{Recursive: true, Sorted: true})
	if r = must(t, r, err); len(r.Node.Nodes) != 10 || len(r.Node.Nodes[1].Nodes[0].Nodes) != 1 || !r.Node.Dir {
		t.Errorf("the tree has %d children: %+v", len(r.Node.Nodes), r.Node)
	}
	r, err = c.Delete(ctx, "/queue", client.DeleteOptions{Recursive: true})
	if r = must(t, r, err); r.Action != "delete" || !r.Node.Dir {
		t.Errorf("a deletion = %+v", r.Node)
	}
}

func TestErrorsOfKeys(t *testing.T) {
	c, ctx := newClient(t, membertest.Start(t, 1).ClientURLs()...), soon(t)
	last := wants(t)(c.Set(ctx, "/file", "1", client.SetOptions{}))
	wants(t)(c.Set(ctx, "/dir/child", "1", client.SetOptions{}))
	get := func(key string) func() (*client.Response, error) {
		return func() (*client.Response, error) { return c.Get(ctx, key, client.GetOptions{}) }
	}
	set := func(key string, o client.SetOptions) func() (*client.Response, error) {
		return func() (*client.Response, error) { return c.Set(ctx, key, "v", o) }
	}
	del := func(key string, o client.DeleteOptions) func() (*client.Response, error) {
		return func() (*client.Response, error) { return c.Delete(ctx, key, o) }
	}
	for name, each := range map[string]struct {
		do     func() (*client.Response, error)
		want   client.Code
		cause  string
		status int
	}{
		"no key":           {get("/none/below"), client.ErrKeyNotFound, "/none", 404},
		"wrong value":      {set("/file", client.SetOptions{PrevValue: "2"}), client.ErrCompareFailed, "[2 != 1]", 412},
		"wrong index":      {del("/file", client.DeleteOptions{PrevIndex: 1}), client.ErrCompareFailed, fmt.Sprintf("[1 != %d]", last.Index), 412},
		"there already":    {set("/file", client.SetOptions{PrevExist: client.Never}), client.ErrNodeExist, "/file", 412},
		"not there":        {set("/none", client.SetOptions{PrevExist: client.Must}), client.ErrKeyNotFound, "/none", 404},
		"a directory":      {set("/dir", client.SetOptions{}), client.ErrNotFile, "/dir", 403},
		"through a file":   {get("/file/below"), client.ErrNotDir, "/file", 400},
		"the root":         {set("/", client.SetOptions{}), client.ErrRootReadOnly, "/", 400},
		"not empty":        {del("/dir", client.DeleteOptions{Dir: true}), client.ErrDirNotEmpty, "/dir", 403},
		"value, refreshed": {set("/file", client.SetOptions{Refresh: true, TTL: time.Second}), 211, "A value was provided on a refresh", 400},
	} {
		_, err := each.do()
		var said *client.Error
		if !errors.Is(err, each.want) || !errors.As(err, &said) || said.Cause != each.cause || said.Status != each.status || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v, want code %d, cause %s", name, err, each.want, each.cause)
		}
	}
}

// wants is must for a call that is not an argument.
func wants(t testing.TB) func(*client.Response, error) *client.Response {
	return func(r *client.Response, err error) *client.Response {
		t.Helper()
		return must(t, r, err)
	}
}

func TestMembers(t *testing.T) {
	cluster, ctx := membertest.Start(t, 2), soon(t)
	c := newClient(t, cluster.Members[0].ClientURL)
	all, err := c.Members(ctx)
	members := all.Members
	if err != nil || len(members) != 2 || members[0].ID == 0 || len(members[0].PeerURLs) != 1 {
		t.Fatalf("Members = %+v, %v", members, err)
	}
	if r := wants(t)(c.Get(ctx, "/", client.GetOptions{})); all.ClusterID == 0 || all.ClusterID != r.ClusterID {
		t.Errorf("the cluster is %x to members, and %x to keys", all.ClusterID, r.ClusterID)
	}
	leader, err := c.Leader(ctx)
	if err != nil || leader.ID != members[0].ID && leader.ID != members[1].ID {
		t.Errorf("Leader = %+v, %v", leader, err)
	}
	added, err := c.AddMember(ctx, []string{"http://127.0.0.1:1"})
	if err != nil || added.ID == 0 || added.PeerURLs[0] != "http://127.0.0.1:1" {
		t.Fatalf("AddMember = %+v, %v", added, err)
	}
	if err := c.UpdateMember(ctx, added.ID, []string{"http://127.0.0.1:2"}); err != nil {
		t.Error(err)
	}
	var said *client.Error
	if err := c.PromoteMember(ctx, added.ID); !errors.As(err, &said) || said.Status != http.StatusConflict {
		t.Errorf("promoting a member that never ran: %v", err)
	}
	if err := c.RemoveMember(ctx, added.ID); err != nil {
		t.Error(err)
	}
	if err := c.RemoveMember(ctx, added.ID); !errors.As(err, &said) || said.Status != http.StatusGone || said.Code != 0 {
		t.Errorf("removed twice: %v", err)
	}
	if err := c.Sync(ctx); err != nil || len(c.Endpoints()) != 2 || c.Endpoints()[0] != cluster.Members[0].ClientURL {
		t.Errorf("Sync: %v, %v", c.Endpoints(), err)
	}
}

func TestFailOver(t *testing.T) {
	cluster, ctx := membertest.Start(t, 3), soon(t)
	c := newClient(t, cluster.ClientURLs()...)
	wants(t)(c.Set(ctx, "/k", "1", client.SetOptions{}))
	if got := c.Endpoints()[0]; got != cluster.Members[0].ClientURL {
		t.Errorf("a well endpoint was left: %s is first", got)
	}
	cluster.Members[0].Stop()
	if r := wants(t)(c.Get(ctx, "/k", client.GetOptions{Quorum: true})); r.Node.Value != "1" {
		t.Errorf("read %+v elsewhere", r.Node)
	}
	if got := c.Endpoints()[0]; got != cluster.Members[1].ClientURL {
		t.Errorf("after a failure %s is first", got)
	}
	fresh := newClient(t, cluster.ClientURLs()...)
	wants(t)(fresh.Set(ctx, "/k", "2", client.SetOptions{})) // refused by the first: nothing was sent
	cluster.Members[1].Stop()
	cluster.Members[2].Stop()
	_, err := c.Get(ctx, "/k", client.GetOptions{})
	var failed *client.ClusterError
	if !errors.As(err, &failed) || len(failed.Failures) != 3 {
		t.Errorf("nobody there: %v", err)
	}
	_, err = c.Set(ctx, "/k", "3", client.SetOptions{})
	if errors.Is(err, client.ErrUnknownOutcome) || !errors.As(err, &failed) || len(failed.Failures) != 3 {
		t.Errorf("a write that nobody took: %v", err)
	}
}

// breaker is a server that reads a request and does not answer it properly.
func breaker(t testing.TB, answer string) (url string, requests *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			requests.Add(1)
			conn.Read(make([]byte, 4096))
			io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return "http://" + listener.Addr().String(), requests
}

func answerText(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Scripted\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func TestWritesAreNotRepeated(t *testing.T) {
	good, ctx := membertest.Start(t, 1).Members[0].ClientURL, soon(t)
	for name, each := range map[string]struct {
		answer  string
		unknown bool
	}{
		"cut":             {"", true},
		"half an answer":  {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"action\"", true},
		"a gateway":       {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", true},
		"not the API":     {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", true},
		"no quorum":       {answerText(500, `{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: x","index":0}`), true},
		"does not serve":  {answerText(503, `{"message":"no"}`), false},
		"only reads":      {"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n", false},
		"a redirect":      {"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false},
		"another service": {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", false},
	} {
		bad, requests := breaker(t, each.answer)
		c := newClient(t, bad, good)
		_, err := c.CreateInOrder(ctx, "/"+strings.ReplaceAll(name, " ", "-"), "v", 0)
		if unknown := errors.Is(err, client.ErrUnknownOutcome); unknown != each.unknown || unknown == (err == nil) {
			t.Errorf("%s: a write ended with %v", name, err)
		}
		if requests.Load() != 1 {
			t.Errorf("%s: the write was sent %d times", name, requests.Load())
		}
		c = newClient(t, bad, good)
		if _, err := c.Get(ctx, "/", client.GetOptions{}); err != nil {
			t.Errorf("%s: a read ended with %v", name, err)
		}
	}
}

func TestInvalidAnswers(t *testing.T) {
	ctx := soon(t)
	for name, answer := range map[string]string{
		"HTML":      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
		"too large": "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat(" ", 2000),
		"empty":     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"nonsense":  "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
		"null":      answerText(200, "null"),
		"other":     answerText(200, `{"hello":"world"}`),
		"no child":  answerText(200, `{"action":"get","node":{"dir":true,"nodes":[{"dir":true,"nodes":[null]}]}}`),
	} {
		bad, _ := breaker(t, answer)
		_, err := newClientOf(t, client.Config{Endpoints: []string{bad}, AnswerBytes: 1000}).Get(ctx, "/k", client.GetOptions{})
		var broken *client.AnswerError
		if !errors.As(err, &broken) || broken.Err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A frozen endpoint accepts requests and never answers them.
func TestFrozenEndpoint(t *testing.T) {
	good, ctx := membertest.Start(t, 1).Members[0].ClientURL, soon(t)
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	config := client.Config{Endpoints: []string{"http://" + frozen.Addr().String(), good}, HeaderTimeout: 50 * time.Millisecond}
	c := newClientOf(t, config)
	if _, err := c.Get(ctx, "/", client.GetOptions{}); err != nil {
		t.Errorf("a read: %v", err)
	}
	if got := c.Endpoints()[0]; got != good {
		t.Errorf("%s is still first", got)
	}
	if _, err := newClientOf(t, config).Set(ctx, "/k", "v", client.SetOptions{}); !errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("a write: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = newClient(t, "http://"+frozen.Addr().String()).Set(short, "/k", "v", client.SetOptions{})
	if !errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write given up: %v", err)
	}
}

func TestCredentialsStayWithTheirServer(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	var name, password string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ = r.BasicAuth()
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", other.URL)
	c := newClientOf(t, client.Config{Endpoints: []string{server.URL}, Username: "root", Password: "secret"})
	_, err := c.Get(soon(t), "/k", client.GetOptions{})
	if err == nil || name != "root" || password != "secret" || elsewhere.Load() != 0 {
		t.Errorf("R114: %v; %q asked here, %d requests elsewhere", err, name, elsewhere.Load())
	}
}

// A token is sent instead of a password.
func TestTokensAreSent(t *testing.T) {
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("Authorization") }))
	defer server.Close()
	c := newClientOf(t, client.Config{Endpoints: []string{server.URL}, Username: "root", Password: "secret", Token: "abc"})
	if _, err := c.Get(soon(t), "/k", client.GetOptions{}); err == nil || header != "Bearer abc" {
		t.Errorf("%v, with the header %q", err, header)
	}
}

// A directory can be the top of the keys: then a client sees nothing else.
func TestKeysBelowAPath(t *testing.T) {
	endpoints, ctx := membertest.Start(t, 1).ClientURLs(), soon(t)
	whole := newClient(t, endpoints...)
	for _, path := range []string{"/v2/keys/dir/a%2Fb", "/v2/keys/other/"} {
		c := newClientOf(t, client.Config{Endpoints: endpoints, KeysPath: path})
		below := "/dir/a%2Fb"
		if path == "/v2/keys/other/" {
			below = "/other"
		}
		r := wants(t)(c.Set(ctx, "/k", "v", client.SetOptions{}))
		if r.Node.Key != below+"/k" && r.Node.Key != "/dir/a/b/k" {
			t.Errorf("%s: set %s", path, r.Node.Key)
		}
		for _, key := range []string{"", "/"} {
			if r := wants(t)(c.Get(ctx, key, client.GetOptions{})); len(r.Node.Nodes) != 1 {
				t.Errorf("%s: Get(%q) = %+v", path, key, r.Node)
			}
		}
		w := c.Watch("", client.WatchOptions{Recursive: true, After: r.Index})
		wants(t)(whole.Set(ctx, "/elsewhere", "v", client.SetOptions{}))
		child := wants(t)(c.Set(ctx, "/child", "v", client.SetOptions{}))
		if event, err := w.Next(ctx); err != nil || event.Node.Key != child.Node.Key {
			t.Errorf("%s: %+v, %v", path, event, err)
		}
	}
	for _, bad := range []string{"v2/keys", "/v2?x=1", "/v2#x", "/%zz"} {
		if _, err := client.New(client.Config{Endpoints: endpoints, KeysPath: bad}); err == nil {
			t.Errorf("the path %q was taken", bad)
		}
	}
}

// carrier is a transport of the caller.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

func TestACustomTransport(t *testing.T) {
	member, ctx := membertest.Start(t, 1).ClientURLs()[0], soon(t)
	carried := 0
	c := newClientOf(t, client.Config{Endpoints: []string{"http://nowhere.invalid"}, Transport: carrier(func(r *http.Request) (*http.Response, error) {
		carried++
		r = r.Clone(r.Context())
		r.URL.Host = strings.TrimPrefix(member, "http://")
		return http.DefaultTransport.RoundTrip(r)
	})})
	wants(t)(c.Set(ctx, "/k", "v", client.SetOptions{}))
	if r := wants(t)(c.Get(ctx, "/k", client.GetOptions{})); r.Node.Value != "v" || carried != 2 {
		t.Errorf("%+v, %d requests carried", r.Node, carried)
	}
}

// Redirects are followed if that is configured, by reads and within one host. A write never follows one.
func TestRedirects(t *testing.T) {
	member, ctx := membertest.Start(t, 1).ClientURLs()[0], soon(t)
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, member+"/v2/keys"+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer moved.Close()
	c := newClientOf(t, client.Config{Endpoints: []string{moved.URL}, KeysPath: "/", Redirects: true})
	var answered *client.AnswerError
	if _, err := c.Set(ctx, "/k", "redirected", client.SetOptions{}); !errors.As(err, &answered) || answered.Status != http.StatusTemporaryRedirect {
		t.Errorf("a write that is redirected: %v", err)
	}
	wants(t)(newClient(t, member).Set(ctx, "/k", "v", client.SetOptions{}))
	if r := wants(t)(c.Get(ctx, "/k", client.GetOptions{})); r.Node.Value != "v" {
		t.Errorf("%+v", r.Node)
	}
	member = strings.Replace(member, "127.0.0.1", "localhost", 1)
	if _, err := c.Get(ctx, "/k", client.GetOptions{}); !errors.As(err, &answered) || answered.Status != http.StatusTemporaryRedirect {
		t.Errorf("a read that is redirected to another host: %v", err)
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"127.0.0.1:2379"}, {"ftp://h:1"}, {"http://"}, {"http://h:1/path"}, {"http://u:p@h:1"}, {"http://h:1?q"}, {"http://h:x"}} {
		if _, err := client.New(client.Config{Endpoints: bad}); err == nil {
			t.Errorf("New(%q) = nil, want an error", bad)
		}
	}
	c := newClient(t, "http://a:1/", "http://a:1", "https://b:2")
	if got := strings.Join(c.Endpoints(), " "); got != "http://a:1 https://b:2" {
		t.Errorf("Endpoints = %s", got)
	}
}
