package httpserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"canopy/internal/dialtest"
	"canopy/internal/httpserver/hijack"
)

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// site is a server on a real listener. It answers at once, below /wait when the client leaves, and below /stream on a
// hijacked connection, until the client leaves.
type site struct {
	t    *testing.T
	addr string
}

func newSite(t *testing.T, b *Budget, o Options) *site {
	t.Helper()
	listener, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, addr: listener.Addr().String()}
	server := New(http.HandlerFunc(answer), o)
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(b.Listener(listener))
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return s
}

func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/wait":
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/stream":
		if conn, ok := hijack.Take(w, r); ok {
			conn.Write(hijack.Head(w.Header(), false))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}
}

// dial opens a connection and writes to it.
func (s *site) dial(text string) net.Conn {
	s.t.Helper()
	return dialtest.Dial(s.t, s.addr, text, patience)
}

// wait sends a GET whose answer does not end, and returns when it has begun.
func (s *site) wait(path string) net.Conn {
	s.t.Helper()
	conn := s.dial("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return conn
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}
