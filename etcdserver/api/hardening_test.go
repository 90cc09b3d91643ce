package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/internal/httpserver"
)

// exchange writes raw bytes, and reads until the server closes or until there are as many answers.
func (s *site) exchange(text string, answers int) (statuses []int) {
	s.t.Helper()
	conn := s.dial("")
	_, _ = io.WriteString(conn, text) // fails if the server has closed the connection
	r := bufio.NewReader(conn)
	for range answers {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		io.Copy(io.Discard, resp.Body)
		statuses = append(statuses, resp.StatusCode)
	}
	return statuses
}

func TestGarbageIsAnsweredOrCut(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{HeaderBytes: 16 << 10, HeaderTimeout: time.Second})
	for name, text := range map[string]string{
		"no HTTP":           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"no Host (E43)":     "GET /v2/keys HTTP/1.1\r\n\r\n",
		"bad escape (K24)":  "GET /v2/keys/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"bad version":       "GET /v2/keys HTTP/9.9\r\nHost: x\r\n\r\n",
		"space in a header": "GET /v2/keys HTTP/1.1\r\nHost : x\r\n\r\n",
		"long header":       "GET /v2/keys HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"many headers":      "GET /v2/keys HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 20_000) + "\r\n",
		"long line":         "GET /v2/keys/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"negative length":   "PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"nul in the method": "G\x00T /v2/keys HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		for _, status := range s.exchange(text, 2) {
			if status < 400 || status >= 500 && status != http.StatusHTTPVersionNotSupported {
				t.Errorf("R78: %s = %d, want a 4xx or a closed connection", name, status)
			}
		}
	}
	s.wants("GET", "/v2/keys", "", 200, `{"action":"get","node":{"dir":true}}`+"\n")
}

// The end of the first request can be read in two ways, and a second one follows. At most the first is served: the key of
// the second does not exist.
func TestNoRequestIsSmuggled(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	const second = "PUT /v2/keys/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	for name, head := range map[string]string{
		"bad coding":                "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"two codings":               "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"tab before the coding":     "Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n",
		"two lengths":               "Content-Length: 0\r\nContent-Length: 7\r\n\r\n",
		"list of lengths":           "Content-Length: 0, 0\r\n\r\n",
		"signed length":             "Content-Length: +0\r\n\r\n",
		"bare LF in a chunk's size": "Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
		"space after the size":      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"length of a hex":           "Content-Length: 0x0\r\n\r\n",
	} {
		s.exchange("PUT /v2/keys/first HTTP/1.1\r\nHost: x\r\n"+head+second, 2)
		if a := s.do("GET", "/v2/keys/smuggled", ""); a.status == 200 {
			t.Errorf("R109: %s: the second request was served", name)
			s.do("DELETE", "/v2/keys/smuggled", "")
		}
	}
}

func TestIncompleteBodies(t *testing.T) {
	s := newSite(t, Options{BodyTimeout: 100 * time.Millisecond}, httpserver.Options{HeaderTimeout: 100 * time.Millisecond})
	const head = "PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\n"
	for name, text := range map[string]string{
		"R74: half the headers": head,
		"a small body":          head + "Content-Length: 100\r\n\r\nvalue=x",
		"a large body":          head + "Content-Length: 1000000\r\n\r\nvalue=x",
		"a chunked body":        head + "Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=x\r\n",
	} {
		for _, status := range s.exchange(text, 2) {
			if status != 400 && status != 408 {
				t.Errorf("%s = %d, want 400 or a closed connection", name, status)
			}
		}
	}
	if a := s.do("GET", "/v2/keys/k", ""); a.status != 404 {
		t.Errorf("half a request was executed: %s", a.body)
	}
	// A body that ends early because the client has closed its side (K14).
	conn := s.dial(head + "Content-Length: 100\r\n\r\nvalue=x")
	conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(conn)
	if err != nil || !bytes.Contains(text, []byte(`"cause":"unexpected EOF","index":0`)) {
		t.Errorf("K14: a cut body = %s, %v", text, err)
	}
}

// Clients ask for large answers and do not read them; they are cut off (R76).
func TestClientsThatDoNotRead(t *testing.T) {
	closed := make(chan struct{}, 10)
	s := newSite(t, Options{WriteTimeout: 50 * time.Millisecond}, httpserver.Options{ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}})
	s.do("PUT", "/v2/keys/d/large?noValueOnSuccess=true", "value="+strings.Repeat("x", 9<<20))
	for _, path := range []string{"/v2/keys/d/large", "/v2/keys/d"} {
		s.dial(strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", 10))
		select {
		case <-closed:
		case <-time.After(patience):
			t.Errorf("R76: a client that does not read %s is still connected", path)
		}
	}
}

func TestSlowRequestsDoNotDelayOthers(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for range 500 {
		s.dial("GET /v2/keys HTTP/1.1\r\nHost:")
	}
	for range 100 { // R74: each is answered in time
		s.wants("GET", "/v2/keys", "", 200, `{"action":"get","node":{"dir":true}}`+"\n")
	}
}

// Each body costs a naive server far more than its size.
func TestCostlyBodiesAreBounded(t *testing.T) {
	s := newSite(t, Options{BodyTimeout: 2 * time.Second}, httpserver.Options{})
	var extensions strings.Builder
	extensions.WriteString("PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 2000 {
		extensions.WriteString("1;" + strings.Repeat("e", 1000) + "\r\nv\r\n")
	}
	for _, status := range s.exchange(extensions.String()+"0\r\n\r\n", 1) {
		if status != 400 {
			t.Errorf("R110: chunk extensions = %d, want 400 or a closed connection", status)
		}
	}
	var parts strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&parts, "--b\r\nContent-Disposition: form-data; name=\"f%d\"\r\n\r\nx\r\n", i)
	}
	a := s.send("PUT", "/v2/keys/multi", http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}, strings.NewReader(parts.String()+"--b--\r\n"))
	if a.status != 201 || !strings.Contains(a.body, `"value":""`) {
		t.Errorf("R112, K12: a multipart body is ignored, unread; got %d %s", a.status, a.body)
	}
	many := "value=x" + strings.Repeat("&a=b", 1_000_000)
	if a := s.do("PUT", "/v2/keys/many", many); a.status != 201 {
		t.Errorf("R112: a form of a million unknown fields = %d", a.status)
	}
}

// TestClientsThatCutAnywhere closes connections after a random number of bytes, both ways (R82).
func TestClientsThatCutAnywhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CANOPY_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CANOPY_TEST_SEED=%d", seed)
	s := newSite(t, Options{}, httpserver.Options{})
	requests := []string{
		"GET /v2/keys/k?wait=true HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v2/keys/k?wait=true&stream=true&recursive=true HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v2/keys/?recursive=true HTTP/1.1\r\nHost: x\r\n\r\n",
		"PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nContent-Length: 9\r\n\r\nvalue=abc",
	}
	var clients sync.WaitGroup
	for worker := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 250 {
				conn, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Error(err)
					return
				}
				conn.SetDeadline(time.Now().Add(time.Millisecond))
				text := requests[rng.IntN(len(requests))]
				if _, err := io.WriteString(conn, text[:rng.IntN(len(text)+1)]); err == nil {
					io.CopyN(io.Discard, conn, rng.Int64N(400))
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	eventually(t, "R66, R82: no watcher is left", func() bool { return s.member.store.Watchers() == 0 })
	if a := s.do("PUT", "/v2/keys/k", "value=1"); a.status/100 != 2 {
		t.Errorf("after all: %d %s", a.status, a.body)
	}
}

// TestRapidResets opens and cancels requests on one HTTP/2 connection (R111).
func TestRapidResets(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{HTTP2Streams: 10})
	client := s.client(true)
	for range 300 {
		resp, err := client.Get("http://" + s.addr + "/v2/keys/k?wait=true&stream=true")
		if err != nil {
			if errors.Is(err, io.EOF) {
				continue // the server has closed the connection
			}
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	eventually(t, "no watcher is left", func() bool { return s.member.store.Watchers() == 0 })
	s.wants("GET", "/v2/keys", "", 200, `{"action":"get","node":{"dir":true}}`+"\n")
}

// A client sends bytes that are not UTF-8 in every part of a request (R79).
func TestInvalidTextReachesNoMetric(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	s.exchange("P\xff /v2/keys/\xff?value=\xff HTTP/1.1\r\nHost: \xff\r\n\r\n", 1)
	for _, target := range []string{"/v2/keys/%ff", "/v2/keys/k?value=%ff", "/%ff", "/v2/members/%ff"} {
		for _, method := range []string{"PUT", "GET", "DELETE", "BREW"} {
			if a := s.do(method, target, ""); a.status >= 500 && a.status != 501 {
				t.Errorf("R79: %s %s = %d", method, target, a.status)
			}
		}
	}
	if a := s.do("GET", "/metrics", ""); a.status != 200 {
		t.Errorf("R79: /metrics = %d %s", a.status, a.body)
	}
}
