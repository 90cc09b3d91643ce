package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// site is a server whose handler can be held up.
type site struct {
	*Server
	over    way
	addr    string
	entered chan string   // paths, as requests reach the handler
	leave   chan struct{} // one for each request that may be answered; closed: all
	log     lines

	mu     sync.Mutex
	states []http.ConnState
}

func newSite(t *testing.T, over way) *site {
	t.Helper()
	s := &site{over: over, entered: make(chan string, 10), leave: make(chan struct{}), log: make(lines, 10)}
	s.Server = New(&http.Server{
		Handler:   http.HandlerFunc(s.handle),
		ErrorLog:  log.New(s.log, "", 0),
		ConnState: s.connState,
	}, func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/other") })
	s.UseTLS(TLS{Config: over.server})
	s.addr = serve(t, s.Serve, s.Close)
	return s
}

func (s *site) handle(w http.ResponseWriter, r *http.Request) {
	s.entered <- r.URL.Path
	<-s.leave
	if strings.HasSuffix(r.URL.Path, "panic") {
		panic("a fault of the handler")
	}
	if _, ours := w.(*answer); ours {
		w.Header().Set("Served", "here")
	}
	fmt.Fprint(w, r.URL.Path)
}

func (s *site) connState(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, state)
}

// client is one connection to a site.
type client struct {
	t  *testing.T
	in *bufio.Reader
	net.Conn
}

func (s *site) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if s.over.client != nil {
		conn = tls.Client(conn, s.over.client)
	}
	return &client{t, bufio.NewReader(conn), conn}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) get(path string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
}

// wants reads an answer.
func (c *client) wants(body string, here, closes bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != body || resp.Close != closes || (resp.Header.Get("Served") != "") != here {
		c.t.Fatalf("answer %q %v %v, %v; want %q, here %v, closing %v", text, resp.Header, resp.Close, err, body, here, closes)
	}
}

// ends checks that the server sends nothing more.
func (c *client) ends() {
	c.t.Helper()
	if text, err := io.ReadAll(c.in); isTimeout(err) || len(text) > 0 {
		c.t.Fatalf("at the end: %q, %v", text, err)
	}
}

func TestNetHTTPKeepsAConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		close(s.leave)
		c := s.dial(t)
		for _, step := range []struct {
			path string
			here bool
		}{{"/a", true}, {"/b", true}, {"/other", false}, {"/a", false}} {
			c.get(step.path)
			c.wants(step.path, step.here, false)
		}
	})
}

func TestARequestInPiecesIsLeftToNetHTTP(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		close(s.leave)
		c := s.dial(t)
		c.get("/a")
		c.wants("/a", true, false)
		c.send("PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
		if path := <-s.entered + <-s.entered; path != "/a/b" {
			t.Errorf("the handler got %s", path)
		}
		c.send("y")
		c.wants("/b", false, false)
	})
}

func TestConnStateIsCalledAsByNetHTTP(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		close(s.leave)
		c := s.dial(t)
		c.get("/a")
		c.wants("/a", true, false)
		c.get("/b")
		c.wants("/b", true, false)
		c.Close()
		want := []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateIdle, http.StateClosed}
		eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Equal(s.states, want)
		})
	})
}

// lingering answers when the context of a request ends, and tells why it did.
func lingering(t *testing.T, over way) (s *site, ended chan error) {
	s = &site{over: over, entered: make(chan string, 10), leave: make(chan struct{})}
	ended = make(chan error, 10)
	s.Server = New(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Served", "here")
		s.entered <- r.URL.Path
		select {
		case <-s.leave:
		case <-r.Context().Done():
		}
		ended <- r.Context().Err()
		fmt.Fprint(w, r.URL.Path)
	})}, func(*http.Request) bool { return true })
	s.UseTLS(TLS{Config: over.server})
	s.addr = serve(t, s.Serve, s.Close)
	return s, ended
}

// monitorReads gives the channel of the goroutine that reads from the only client of the site; nil: there is none.
func (s *site) monitorReads() chan received {
	s.Server.mu.Lock()
	defer s.Server.mu.Unlock()
	for c := range s.conns {
		c.client.mu.Lock()
		defer c.client.mu.Unlock()
		return c.client.reading
	}
	return nil
}

func TestARequestEndsWhenItsClientLeaves(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s, ended := lingering(t, over)
		c, halfway := s.dial(t), s.dial(t)
		c.get("/a")
		halfway.get("/b")
		halfway.Conn.(interface{ CloseWrite() error }).CloseWrite()
		c.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the context ended with %v", err)
			}
		}
		halfway.wants("/b", true, false) // only its sending side is closed
		halfway.ends()
	})
}

// The client sends its next request before it has its answer, while the monitor reads.
func TestAClientThatStaysIsServedOn(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s, ended := lingering(t, over)
		c := s.dial(t)
		c.get("/a")
		<-s.entered
		eventually(t, func() bool { return s.monitorReads() != nil })
		s.leave <- struct{}{}
		if err := <-ended; err != nil {
			t.Errorf("the context ended with %v", err)
		}
		c.wants("/a", true, false)
		c.get("/b")
		<-s.entered
		eventually(t, func() bool { return s.monitorReads() != nil })
		c.get("/c")
		eventually(t, func() bool { return len(s.monitorReads()) == 1 })
		close(s.leave)
		c.wants("/b", true, false)
		c.wants("/c", true, false)
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("the context ended with %v", err)
			}
		}
	})
}

// hijacking answers over the connection, and returns it to the server with what it read of the next request. The path
// says what else it does.
func hijacking(t *testing.T, over way) *site {
	s := &site{over: over, entered: make(chan string, 10), leave: make(chan struct{})}
	s.Server = New(&http.Server{ConnState: func(_ net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.states = append(s.states, state)
	}, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.entered <- r.URL.Path
		if strings.Contains(r.URL.Path, "wait") {
			<-s.leave
		}
		if strings.Contains(r.URL.Path, "late") {
			w.WriteHeader(http.StatusOK)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			w.Header().Set("Served", "here")
			fmt.Fprint(w, r.URL.Path)
			return
		}
		early, err := buffered.Peek(buffered.Reader.Buffered())
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nServed: here\r\nContent-Length: %d\r\n\r\n%s", len(r.URL.Path), r.URL.Path)
		conn.(interface{ Return([]byte) }).Return(early)
		if strings.Contains(r.URL.Path, "panic") {
			panic(http.ErrAbortHandler)
		}
	})}, func(*http.Request) bool { return true })
	s.UseTLS(TLS{Config: over.server})
	s.addr = serve(t, s.Serve, s.Close)
	return s
}

func TestAHandlerMayHijackAConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := hijacking(t, over)
		c := s.dial(t)
		for _, path := range []string{"/a", "/b", "/panic", "/c"} { // a handler that panics has given the connection away
			c.get(path)
			c.wants(path, true, false)
		}
		c.send("GET /d HTTP/1.1\r\nHost: x\r\n\r\nGET /e HTTP/1.1\r\nHost: x\r\n\r\nGET /f HTTP/1.1\r\nHost:")
		c.wants("/d", true, false)
		c.wants("/e", true, false)
		c.Close()
	})
}

// What the monitor has read while the handler waited is not lost.
func TestAHandlerMayHijackAConnectionLater(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := hijacking(t, over)
		c := s.dial(t)
		c.get("/wait")
		eventually(t, func() bool { return s.monitorReads() != nil })
		c.get("/next")
		eventually(t, func() bool { return len(s.monitorReads()) == 1 })
		close(s.leave)
		c.wants("/wait", true, false)
		c.wants("/next", true, false)
	})
}

func TestAnAnswerThatHasBegunKeepsItsConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := hijacking(t, over)
		c := s.dial(t)
		c.get("/late")
		if text, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || text.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", text, err)
		}
	})
}

func TestConnStateOfAHijackedConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := hijacking(t, over)
		c := s.dial(t)
		for range 2 {
			c.get("/a")
			c.wants("/a", true, false)
		}
		c.Close()
		want := []http.ConnState{http.StateNew, http.StateActive, http.StateHijacked, http.StateIdle, http.StateActive, http.StateHijacked, http.StateIdle, http.StateClosed}
		eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Equal(s.states, want)
		})
	})
}

// TestAHandlerMayChangeTheHeadersOfItsRequest: the next request on the connection, with the same header block, has
// headers as they were sent.
func TestAHandlerMayChangeTheHeadersOfItsRequest(t *testing.T) {
	changes := []func(http.Header){
		func(h http.Header) { h.Set("X-B", "2") },
		func(h http.Header) { h.Del("X-A") },
		func(h http.Header) { h["X-A"][0] = "changed" },
		func(h http.Header) { h.Add("X-A", "2") },
		func(h http.Header) { h.Del("X-A"); h.Set("X-B", "1") },
		func(h http.Header) { clear(h) },
		func(http.Header) {},
	}
	var seen []string
	handler := func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, fmt.Sprint(r.Header))
		changes[len(seen)-1](r.Header)
	}
	s := New(&http.Server{Handler: http.HandlerFunc(handler)}, func(*http.Request) bool { return true })
	addr := serve(t, s.Serve, s.Close)
	ask(t, addr, []byte(strings.Repeat("GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\r\n", len(changes))))
	want := slices.Repeat([]string{fmt.Sprint(http.Header{"X-A": {"1"}})}, len(changes))
	if !slices.Equal(seen, want) {
		t.Errorf("headers seen: %q", seen)
	}
}

func TestAPanicEndsItsConnectionOnly(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		close(s.leave)
		c, other := s.dial(t), s.dial(t)
		c.get("/panic")
		c.ends()
		if text := <-s.log; !strings.Contains(text, "a fault of the handler") || !strings.Contains(text, "server_test.go") {
			t.Errorf("the log is %q", text)
		}
		other.get("/a")
		other.wants("/a", true, false)
	})
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		busy, idle, fresh, handed := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
		idle.get("/a")
		<-s.entered
		s.leave <- struct{}{}
		idle.wants("/a", true, false)
		busy.get("/busy")
		<-s.entered
		handed.get("/other")
		<-s.entered
		down := make(chan error)
		go func() { down <- s.Shutdown(t.Context()) }()
		idle.ends()
		fresh.ends()
		if conn, err := net.Dial("unix", s.addr); err == nil {
			conn.Close()
			t.Error("there is still a listener")
		}
		close(s.leave)
		busy.wants("/busy", true, true)
		busy.ends()
		handed.wants("/other", false, true)
		if err := <-down; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// heldListener accepts nothing until it is woken or closed, like a server that gets no processor.
type heldListener struct {
	*net.UnixListener
	asked chan struct{} // something is sent at each Accept
	woken chan struct{}
	once  sync.Once
}

func (l *heldListener) Accept() (net.Conn, error) {
	l.asked <- struct{}{}
	<-l.woken
	return l.UnixListener.Accept()
}

func (l *heldListener) SetDeadline(at time.Time) error {
	l.once.Do(func() { close(l.woken) })
	return l.UnixListener.SetDeadline(at)
}

func (l *heldListener) Close() error {
	l.once.Do(func() { close(l.woken) })
	return l.UnixListener.Close()
}

// A request that arrived before Shutdown is answered, even if its connection was not accepted yet.
func TestShutdownAnswersWhatWaitsAtThePort(t *testing.T) {
	s := &site{entered: make(chan string, 10), leave: make(chan struct{})}
	close(s.leave)
	s.Server = New(&http.Server{Handler: http.HandlerFunc(s.handle)}, func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/other") })
	asked := make(chan struct{}, 10)
	s.addr = serve(t, func(l net.Listener) error {
		return s.Serve(&heldListener{UnixListener: l.(*net.UnixListener), asked: asked, woken: make(chan struct{})})
	}, s.Close)
	<-asked
	here, handed := s.dial(t), s.dial(t)
	here.get("/a")
	handed.get("/other")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	here.wants("/a", true, true)
	handed.wants("/other", false, true)
}

// A request that was sent on an idle connection before Shutdown is answered.
func TestShutdownAnswersWhatWasSent(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		for range 50 {
			s := newSite(t, over)
			close(s.leave)
			c := s.dial(t)
			c.get("/a")
			c.wants("/a", true, false)
			c.get("/b")
			if err := s.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
			if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("answer %v, %v", resp, err)
			}
		}
	})
}

func TestShutdownGivesUpInTime(t *testing.T) {
	eachWay(t, func(t *testing.T, over way) {
		s := newSite(t, over)
		c := s.dial(t)
		c.get("/a")
		<-s.entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		c.ends()
		close(s.leave)
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		server *http.Server
		asks   bool
	}{
		{"before the first request", &http.Server{ReadHeaderTimeout: time.Millisecond, IdleTimeout: time.Hour}, false},
		{"after a request", &http.Server{ReadHeaderTimeout: time.Hour, IdleTimeout: time.Millisecond}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &site{entered: make(chan string, 1), leave: make(chan struct{})}
			close(s.leave)
			c.server.Handler = http.HandlerFunc(s.handle)
			s.Server = New(c.server, func(*http.Request) bool { return true })
			s.addr = serve(t, s.Serve, s.Close)
			conn := s.dial(t)
			if c.asks {
				conn.get("/a")
				conn.wants("/a", true, false)
			}
			conn.ends()
		})
	}
}

// The idle time-out passes while the request is being read.
func TestARequestAtTheIdleTimeoutIsServed(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	now := time.Now()
	m := monitor{conn: server, idleTimeout: time.Minute}
	m.check(now)
	m.check(now.Add(time.Minute))
	if _, err := server.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("Read = %v after a minute", err)
	}
	m.begin(time.Minute)
	m.end()
	go client.Write([]byte("x"))
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Errorf("Read = %v after a request", err)
	}
	m.check(now.Add(2 * time.Minute))
	m.check(now.Add(3*time.Minute - 1))
	go client.Write([]byte("y"))
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Errorf("Read = %v before a minute has passed", err)
	}
}

// shakyListener fails a few times, as without file descriptors.
type shakyListener struct {
	net.Listener
	failures int
}

func (l *shakyListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnWhenThereAreDescriptorsAgain(t *testing.T) {
	s := &site{entered: make(chan string, 1), leave: make(chan struct{})}
	close(s.leave)
	s.Server = New(&http.Server{Handler: http.HandlerFunc(s.handle)}, func(*http.Request) bool { return true })
	s.addr = serve(t, func(l net.Listener) error { return s.Serve(&shakyListener{l, 3}) }, s.Close)
	c := s.dial(t)
	c.get("/a")
	c.wants("/a", true, false)
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := New(&http.Server{}, func(*http.Request) bool { return true })
	if err := s.Serve(l); !errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Close = %v", err)
	}
}

// The client speaks HTTP/2, which net/http serves only on connections that it knows to be TLS.
func TestHTTP2IsLeftToNetHTTP(t *testing.T) {
	lender := httptest.NewUnstartedServer(http.NotFoundHandler())
	lender.EnableHTTP2 = true
	lender.StartTLS()
	defer lender.Close()
	s := New(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }), TLSConfig: lender.TLS.Clone()},
		func(*http.Request) bool { return true })
	addr := serve(t, func(l net.Listener) error { return s.Serve(tls.NewListener(l, lender.TLS)) }, s.Close)
	client := lender.Client()
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", addr)
	}
	resp, err := client.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "HTTP/2.0" {
		t.Errorf("answer %q, %v", text, err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("not in time")
		}
	}
}

// lines are what was logged, one for each Write.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
