package api

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"canopy/internal/cuttest"
	"canopy/internal/httpserver"
)

// TestNothingIsDoneForACutRequest sends requests of every type, framing and method, cut after each byte of the body.
func TestNothingIsDoneForACutRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{}, httpserver.Options{})
	s.do("PUT", "/v2/keys/k", "value=kept")
	s.do("PUT", "/v2/keys/queue", "dir=true")
	index := func() uint64 { return s.member.index.Load() }
	for _, method := range []string{"PUT", "POST", "DELETE", "GET"} {
		target := map[string]string{"POST": "/v2/keys/queue", "PUT": "/v2/keys/k?value=q"}[method]
		if target == "" {
			target = "/v2/keys/k"
		}
		for _, r := range cuttest.Requests(method, target) {
			before := index()
			for _, n := range r.Cuts() {
				if a := r.Cut(t, s.addr, n); !cuttest.IsRefused(a) || !strings.Contains(a, "Connection: close\r\n") {
					t.Errorf("%s, cut after %d bytes: %s", r.Name, n, a)
				}
			}
			if after := index(); after != before {
				t.Errorf("%s: cut requests changed something", r.Name)
			}
		}
		for _, r := range cuttest.Requests(method, target) {
			if status := r.Whole(t, s.addr); status/100 != 2 {
				t.Errorf("%s: all of it: %d", r.Name, status)
			}
			s.do("PUT", "/v2/keys/k", "value=kept")
		}
	}
}

// TestNothingIsDoneForAClientThatLeaves closes and resets connections in the middle of a body.
func TestNothingIsDoneForAClientThatLeaves(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1000)
	s := newSite(t, Options{}, httpserver.Options{ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}})
	before := s.member.index.Load()
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		for _, r := range cuttest.Requests(method, "/v2/keys/k?value=q") {
			for _, reset := range []bool{false, true} {
				r.Leave(t, s.addr, 5, reset)
				select {
				case <-closed:
				case <-time.After(patience):
					t.Fatalf("%s: the connection is still there", r.Name)
				}
			}
		}
	}
	if n := s.member.index.Load() - before; n != 0 {
		t.Errorf("%d requests of clients that left were carried out", n)
	}
}

// TestNothingIsDoneForACutStream does the same over HTTP/2, where a stream ends early or is reset.
func TestNothingIsDoneForACutStream(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{}, httpserver.Options{})
	conn := s.dial(http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	stream, before := uint32(1), s.member.index.Load()
	send := func(method, contentType string, short bool) {
		block.Reset()
		for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "127.0.0.1"}, {":path", "/v2/keys/k?value=q"},
			{"content-type", contentType}, {"content-length", "9"}} {
			if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
				t.Fatal(err)
			}
		}
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
		if err == nil {
			err = framer.WriteData(stream, short, []byte("value"))
		}
		if err == nil && !short {
			err = framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		for _, contentType := range []string{"application/json", formType} {
			send(method, contentType, false)
			stream += 2
			send(method, contentType, true)
			if body := readStream(t, framer, stream); !strings.Contains(body, `"errorCode":210`) || !strings.Contains(body, `"cause":"unexpected EOF"`) {
				t.Errorf("a short %s of %s = %s", method, contentType, body)
			}
			stream += 2
		}
	}
	if n := s.member.index.Load() - before; n != 0 {
		t.Errorf("%d cut requests were carried out", n)
	}
}

// readStream gives the body of a stream's answer.
func readStream(t *testing.T, framer *http2.Framer, stream uint32) string {
	t.Helper()
	var body []byte
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if frame.Header().StreamID != stream {
			continue
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			body = append(body, data.Data()...)
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return string(body)
		}
	}
}

// The body of the request decides about members, or has no meaning.
func TestMembersStayWhenARequestIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{SetLogLevel: func(string) error { t.Error("the level was set"); return nil }}, httpserver.Options{})
	s.member.changes = func() { t.Error("a change of the members was carried out") }
	id := "/v2/members/" + soloID.String()
	for target, methods := range map[string][]string{"/v2/members": {"POST"}, id: {"PUT", "DELETE"}, "/config/local/log": {"PUT"}} {
		for _, method := range methods {
			head := method + " " + target + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
			body := `{"peerURLs":["http://127.0.0.1:9"],"Level":"INFO"}`
			for name, text := range map[string]string{
				"a length": head + "Content-Length: " + strconv.Itoa(len(body)+1) + "\r\n\r\n" + body,
				"chunks":   head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n",
			} {
				conn := s.dial(text)
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				var answer bytes.Buffer
				if _, err := answer.ReadFrom(conn); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(answer.String(), " 400 Bad Request\r\n") {
					t.Errorf("%s %s with %s, cut: %s", method, target, name, answer.String())
				}
			}
		}
	}
}
