package http1

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen.
const patience = 2 * time.Minute

// twins are two servers of one handler: ours, and net/http's own.
type twins struct {
	over         way
	ours, theirs string       // addresses
	plain        atomic.Int64 // requests that were found plain
}

// newTwins starts both. They answer with echo.
func newTwins(t testing.TB, over way) *twins {
	t.Helper()
	w := &twins{over: over}
	plain := New(&http.Server{Handler: http.HandlerFunc(echo)}, func(*http.Request) bool { w.plain.Add(1); return true })
	alone := &http.Server{Handler: http.HandlerFunc(echo)}
	plain.UseTLS(TLS{Config: over.server})
	w.ours = serve(t, plain.Serve, plain.Close)
	w.theirs = serve(t, func(l net.Listener) error {
		if over.server != nil {
			l = tls.NewListener(l, over.server)
		}
		return alone.Serve(l)
	}, alone.Close)
	return w
}

// serve runs a server until the end of the test, and gives its address.
func serve(t testing.TB, serve func(net.Listener) error, stop func() error) string {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket")) // a fuzzer would use up all ports
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(l) }()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
	return l.Addr().String()
}

// echo answers with the request, in the form that the query demands.
func echo(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	seen, jsonErr := json.Marshal(struct {
		Method, Proto, Host, RequestURI, Remote string
		URL                                     url.URL
		Header                                  http.Header
		Length                                  int64
		Text                                    string
		Coding                                  []string
		Close, TLS                              bool
	}{r.Method, r.Proto, r.Host, r.RequestURI, r.RemoteAddr, *r.URL, r.Header, r.ContentLength, string(text), r.TransferEncoding, r.Close, r.TLS != nil})
	if err = errors.Join(err, jsonErr); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	how := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(how)) {
		if field, ok := strings.CutPrefix(name, "h."); ok && makesSense(http.CanonicalHeaderKey(field), how[name]) {
			w.Header()[http.CanonicalHeaderKey(field)] = how[name]
		}
	}
	if header := w.Header(); how.Has("lines") && len(header) == 0 {
		if a, ours := w.(*answer); ours {
			*a.HeaderLines() = append(*a.HeaderLines(), "Content-Type: text/css\r\nX-A: 1\r\n"...)
		} else {
			header["Content-Type"], header["X-A"] = []string{"text/css"}, []string{"1"}
		}
	}
	if status, err := strconv.Atoi(how.Get("status")); err == nil && 200 <= status && status < 600 {
		w.WriteHeader(status)
		w.Header().Set("X-Too-Late", "yes")
	}
	if how.Has("nothing") {
		return
	}
	if how.Has("flush") {
		http.NewResponseController(w).Flush()
	}
	if how.Has("panic") {
		panic(http.ErrAbortHandler)
	}
	times, _ := strconv.Atoi(how.Get("times"))
	for range min(max(times, 1), 200) {
		if _, err := w.Write(seen); err != nil {
			fmt.Fprint(w, err)
		}
	}
}

// makesSense tells whether a handler would set such a header. Others need not give the same answers.
func makesSense(name string, values []string) bool {
	switch name {
	case "Content-Length":
		return len(values) == 1 && strings.Trim(values[0], "0123456789") == "" && len(values[0]) > 0 && len(values[0]) < 10
	case "Connection":
		return len(values) == 1 && values[0] == "close"
	case "Transfer-Encoding", "Trailer":
		return false
	}
	return true
}

var dateLine = regexp.MustCompile(`Date: [^\r]*\r\n`)

// ask sends bytes to a server, and gives its answers, without dates.
func ask(t testing.TB, addr string, text []byte) []byte {
	t.Helper()
	return askOver(t, way{}, addr, text)
}

// askOver is ask over TLS, if the way has it.
func askOver(t testing.TB, over way, addr string, text []byte) []byte {
	t.Helper()
	conn, err := net.Dial("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if over.client != nil {
		conn = tls.Client(conn, over.client)
	}
	if _, err := conn.Write(text); err != nil {
		t.Fatal(err)
	}
	conn.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(conn)
	if errors.Is(err, net.ErrClosed) || isTimeout(err) {
		t.Fatalf("%v after %q", err, answer)
	}
	return dateLine.ReplaceAll(answer, nil)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// unchunk joins the chunks of each body, since their sizes have no meaning.
func unchunk(answers []byte) string {
	var b strings.Builder
	in := bufio.NewReader(bytes.NewReader(answers))
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			return b.String()
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Fprintf(&b, "%s %v %v %q %v\n", resp.Status, resp.Header, resp.TransferEncoding, body, err)
	}
}

const badRequest = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"

// alike checks that both give the same answers.
func (w *twins) alike(t testing.TB, text []byte) {
	if lower := bytes.ToLower(text); bytes.Contains(lower, []byte("transfer-encoding")) && (bytes.Contains(lower, []byte("content-length")) || bytes.Contains(lower, []byte("http/1.0"))) {
		askOver(t, w.over, w.ours, text) // differs on purpose: TestAnUnclearFramingEndsTheConnection
		return
	}
	t.Helper()
	ours, theirs := askOver(t, w.over, w.ours, text), askOver(t, w.over, w.theirs, text)
	if len(theirs) > 0 && !bytes.HasSuffix(theirs, []byte(badRequest)) {
		// net/http ignores a few stray bytes at the end of a connection, unless they are its first.
		ours = bytes.TrimSuffix(ours, []byte(badRequest))
	}
	if bytes.Equal(ours, theirs) || bytes.Contains(theirs, []byte("chunked")) && unchunk(ours) == unchunk(theirs) {
		return
	}
	t.Errorf("to %q\nthe answer is  %q\nthat of net/http %q", text, ours, theirs)
}

// http1 serves plainRequests, and net/http the others, with the same answers.
var plainRequests = []string{
	"GET /v2/keys/a HTTP/1.1\r\nHost: localhost:2379\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1]:2379\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
	"GET /v2/keys//a/./../b?recursive=true&sorted=true HTTP/1.1\r\nhost: x\r\nACCEPT-encoding: gzip\r\n\r\n",
	"GET /a?x=%41&%zz;y=?? HTTP/1.1\r\nHost: a_b.c-d\r\nConnection: Keep-Alive\r\n\r\n",
	"GET /a:b@c=d+e$f~g HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-forwarded-for: 5.6.7.8\r\nEmpty:\r\n\r\n",
	"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD /a?nothing HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD /a?times=99 HTTP/1.1\r\nHost: x\r\n\r\n",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"DELETE /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxyGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n\r\na\x00bPOST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n\r\ncde",
	"GET /a?nothing HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?status=404&h.content-type=application/json HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?status=204&h.x-a=b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?status=304 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?status=599&nothing HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?times=3 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?times=5 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?times=9 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?times=200&h.content-encoding=br HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?flush HTTP/1.1\r\nHost: x\r\n\r\nGET /a?flush&times=7&status=500 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?flush&status=204 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?nothing&flush HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD /a?flush HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?h.content-length=5 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?h.content-length=9999&times=2 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?h.content-length=99999&times=99 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /0?h.Content-length=70 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?h.connection=close HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?h.b=1%0d%0ac:2&h.b=+x+&h.a=3&h.date=never HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?lines HTTP/1.1\r\nHost: x\r\n\r\nGET /a?lines&status=404 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?lines&times=9 HTTP/1.1\r\nHost: x\r\n\r\n",
	"HEAD /a?lines&nothing HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?panic HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?panic&flush HTTP/1.1\r\nHost: x\r\n\r\n",
}

var otherRequests = []string{
	"",
	"\r\n",
	"GET",
	"GET /a HTTP/1.1\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost:\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET /a HTTP/1.1\nHost: x\n\n",
	"GET /a HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nA: \xe4\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nA: b\t\r\n\r\n",
	"GET /a HTTP/1.0\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
	"GET /a HTTP/1.2\r\nHost: x\r\n\r\n",
	"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a  HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.1 \r\nHost: x\r\n\r\n",
	"get /a HTTP/1.1\r\nHost: x\r\n\r\n",
	"PATCH /a HTTP/1.1\r\nHost: x\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET http://y/a HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET //y/a#b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a? HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a?b#c HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a!b*c'(d),;[e] HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, A\r\nA: b\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("z", 9000),
	"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"GET /" + strings.Repeat("a", 5000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
}

func TestPlainRequestsAreServedHere(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		w := newTwins(t, over)
		for _, text := range plainRequests {
			before := w.plain.Load()
			w.alike(t, []byte(text))
			if w.plain.Load() == before {
				t.Errorf("%q was left to net/http", text)
			}
		}
	})
}

func TestOtherRequestsAreLeftToNetHTTP(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		w := newTwins(t, over)
		for _, text := range otherRequests {
			w.alike(t, []byte(text))
			if w.plain.Load() > 0 {
				t.Fatalf("%q was taken for plain", text)
			}
		}
	})
}

// The handover to net/http comes in the middle of a connection, at any request.
func TestAnOtherRequestMayFollowPlainOnes(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		w := newTwins(t, over)
		for n, other := range otherRequests {
			w.alike(t, []byte(plainRequests[n%12]+plainRequests[0]+other+plainRequests[1]))
		}
	})
}

func FuzzServedAlike(f *testing.F) {
	for _, text := range append(plainRequests, otherRequests...) {
		f.Add([]byte(text))
	}
	w := newTwins(f, way{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) < 16<<10 {
			w.alike(t, text)
		}
	})
}
