package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// in runs a function in the network namespace of a host. Sockets that it makes
// belong there for good.
func (h *hosts) in(host int, run func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	away, err := os.Open("/run/netns/" + h.namespace(host))
	if err != nil {
		return err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = run()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return err // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread() // it lives on: processes that it started would die with it
	return err
}

// watchers are clients on a host of their own. Half of those with a connection
// of their own wait for one event, half stream; the others share connections of
// HTTP/2. Of each kind one half watches /loud, one /quiet.
type watchers struct {
	mu     sync.Mutex // guards conns and own
	conns  []net.Conn
	own    map[net.Conn]bool // those of one watch
	heeds  sync.WaitGroup    // of the connections of HTTP/2
	events atomic.Int64      // that arrived there
}

// streamsShared is how many watches share a connection of HTTP/2; the server
// takes 250 at once.
const streamsShared = 200

// watchFrom opens watches from several addresses of a host: so many on
// connections of their own, and so many on shared ones.
func watchFrom(t *testing.T, h *hosts, host int, s *server, own, shared int) *watchers {
	t.Helper()
	w := &watchers{own: map[net.Conn]bool{}}
	const dialers = 8
	var group errgroup.Group
	for d := range dialers {
		group.Go(func() error {
			return h.in(host, func() error {
				dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(h.further(host, d))}}
				for n := d; n < own; n += dialers {
					if err := w.watch(dialer, s.address(), n); err != nil {
						return fmt.Errorf("watch %d: %w", n, err)
					}
				}
				for n := d * streamsShared; n < shared; n += dialers * streamsShared {
					if err := w.share(dialer, s.address(), min(streamsShared, shared-n)); err != nil {
						return fmt.Errorf("shared watch %d: %w", n, err)
					}
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watchers) keep(c net.Conn, own bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
	w.own[c] = own
}

func watchPath(n int) string {
	path := []string{"/v2/keys/loud?wait=true", "/v2/keys/quiet?wait=true"}[n/2%2]
	if n%2 == 0 {
		path += "&stream=true"
	}
	return path
}

// watch opens a connection with one watch on it, and waits for its header: then
// it is registered.
func (w *watchers) watch(dialer net.Dialer, address string, n int) error {
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	w.keep(c, true)
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", watchPath(n)); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return err
}

// share opens one connection of HTTP/2 with many watches.
func (w *watchers) share(dialer net.Dialer, address string, streams int) error {
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	w.keep(c, false)
	f, err := speak(c)
	if err != nil {
		return err
	}
	for n := range streams {
		if _, err := f.open(http.MethodGet, watchPath(n), false); err != nil {
			return err
		}
	}
	answered := 0
	if err := f.heed(func(frame http2.Frame) bool {
		if frame.Header().Type == http2.FrameHeaders {
			answered++
		}
		return answered == streams
	}); err != nil {
		return err
	}
	w.heeds.Go(func() {
		f.heed(func(frame http2.Frame) bool { // until the connection is closed
			if data, is := frame.(*http2.DataFrame); is && len(data.Data()) > 0 {
				w.events.Add(1)
			}
			return false
		})
	})
	return nil
}

// reset has connections say RST when they are closed.
func (w *watchers) reset() {
	for _, c := range w.conns {
		c.(*net.TCPConn).SetLinger(0) // fails on a connection that is closed already: fine
	}
}

// informed makes sure that each watch gets an event.
func (w *watchers) informed(t *testing.T, own, shared int) {
	t.Helper()
	told := 0
	for _, c := range w.conns {
		if !w.own[c] {
			continue
		}
		c.SetReadDeadline(time.Now().Add(hang)) // fails on a closed connection, as Read does
		event := make([]byte, 1024)
		n, err := c.Read(event)
		if !strings.Contains(string(event[:n]), `"value":"news"`) {
			t.Fatalf("after %d watches one got %q, %v", told, event[:n], err)
		}
		told++
	}
	if told != own {
		t.Errorf("%d watches were told, want %d", told, own)
	}
	eventually(t, hang, "events of shared connections", func() error {
		if n := w.events.Load(); n != int64(shared) {
			return fmt.Errorf("%d, want %d", n, shared)
		}
		return nil
	})
}

// end closes all connections; what the other side is told depends on them.
func (w *watchers) end() {
	for _, c := range w.conns {
		c.Close()
	}
	w.heeds.Wait()
}

// footprint is what clients cost a server.
type footprint struct {
	watchers, connections, files int
	resident                     int64
}

func (s *server) footprint() footprint {
	s.t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.command.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return footprint{
		watchers: int(s.metric("etcd_store_watchers")), connections: int(s.metric("canopy_http_connections")),
		files: len(files), resident: s.residentBytes(),
	}
}

// further is another address of a host; those of hosts themselves are lower.
func (h *hosts) further(host, n int) string { return fmt.Sprintf("%s.%d", h.subnet, 100+10*host+n) }

// Clients of thousands of watches vanish at once: they close, they reset, or
// nothing is heard of them any more, some of them with an event on its way. The
// server gives back all that they took, and new watches get what they wait for
// (R66, R67). A black hole is found within two minutes, which is tried at full
// scale only; memory comes back within five, since the runtime collects garbage
// every two if there is little to do.
func TestWatchersVanish(t *testing.T) {
	parallel(t)
	const residentMost, late, collected = 128 << 20, 2 * time.Minute, 5 * time.Minute
	soon := scale(hang, 20*time.Second)
	h, s := newWatched(t)
	own, shared := scale(300, 18_000), scale(200, 2_000)
	s.must(http.StatusCreated, http.MethodPut, "/v2/keys/loud", "value=1")
	base := s.footprint()
	for _, cut := range []struct {
		name   string
		vanish func(w *watchers)
		limit  time.Duration
	}{
		{"FIN", func(w *watchers) { w.end() }, soon},
		{"RST", func(w *watchers) { w.reset(); w.end() }, soon},
		{"black hole", func(*watchers) { h.cut(0) }, late},
	} {
		t.Run(cut.name, func(t *testing.T) {
			if cut.name == "black hole" && !*full {
				return
			}
			w := watchFrom(t, h, 0, s, own, shared)
			defer w.end()
			during := s.footprint()
			if during.watchers != own+shared {
				t.Fatalf("%d watchers, want %d", during.watchers, own+shared)
			}
			cut.vanish(w)
			began := time.Now()
			s.must(http.StatusOK, http.MethodPut, "/v2/keys/loud", "value=1")
			gone := s.forgets(t, base, cut.limit)
			t.Logf("after %v: %+v, during it %+v, before %+v", time.Since(began), gone, during, base)
		})
	}
	began := time.Now()
	eventually(t, collected, "memory to be given back", func() error {
		if now := s.residentBytes(); now > base.resident+residentMost {
			return fmt.Errorf("%d MiB are resident, before it was %d MiB", now>>20, base.resident>>20)
		}
		return nil
	})
	t.Logf("%d MiB are resident after another %v, before it was %d MiB", s.residentBytes()>>20, time.Since(began), base.resident>>20)
	h.heal(0)
	w := watchFrom(t, h, 0, s, own, shared)
	defer w.end()
	for _, key := range []string{"loud", "quiet"} {
		if _, err := s.do(http.MethodPut, "/v2/keys/"+key, "value=news"); err != nil {
			t.Fatal(err)
		}
	}
	w.informed(t, own, shared)
}

// newWatched starts a server and a host for its watchers, with addresses enough.
func newWatched(t *testing.T) (*hosts, *server) {
	t.Helper()
	h := newHosts(t, 1)
	for d := range 8 {
		h.ip("-n", h.namespace(0), "addr", "add", h.further(0, d)+"/24", "dev", "eth0")
	}
	s := newServer(t)
	s.client = strings.Replace(s.client, "127.0.0.1", h.subnet+".254", 1)
	return h, s.start()
}

// Many who only wait do not slow those who work, nor are they forgotten (R75).
func TestWatchersThatWait(t *testing.T) {
	parallel(t)
	h, s := newWatched(t)
	own, shared := scale(600, 18_000), scale(400, 2_000)
	quiet := s.work(t)
	w := watchFrom(t, h, 0, s, own, shared)
	defer w.end()
	if n := s.footprint().watchers; n != own+shared {
		t.Fatalf("%d watchers, want %d", n, own+shared)
	}
	during := s.work(t)
	t.Logf("without watchers %v; with %d: %v", quiet, own+shared, during)
	if limit := 2*quiet.at(0.99) + 20*time.Millisecond; *full && during.at(0.99) > limit {
		t.Errorf("the p99 of those who work is more than %v", limit)
	}
	for _, key := range []string{"loud", "quiet"} {
		s.must(http.StatusCreated, http.MethodPut, "/v2/keys/"+key, "value=news")
	}
	w.informed(t, own, shared)
}

// work has many clients write and read for a while, none of them hurried.
func (s *server) work(t *testing.T) latencies {
	t.Helper()
	clients := &crowd{address: s.address(), size: scale(50, 500), every: 100 * time.Millisecond, request: func(client, n int) []byte {
		if key := fmt.Sprintf("/busy/%d", client); n%2 == 0 {
			return put(key, "1")
		} else {
			return fmt.Appendf(nil, "GET /v2/keys%s HTTP/1.1\r\nHost: localhost\r\n\r\n", key)
		}
	}}
	ctx, cancel := context.WithTimeout(t.Context(), scale(2*time.Second, 20*time.Second))
	defer cancel()
	took, err := clients.run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// forgets waits until clients cost a server what they did before, but for memory.
func (s *server) forgets(t *testing.T, before footprint, limit time.Duration) (now footprint) {
	t.Helper()
	const slack = 5 // connections and files of this test
	eventually(t, limit, "clients to be forgotten", func() error {
		pass(200 * time.Millisecond)
		now = s.footprint()
		if now.watchers > before.watchers || now.connections > before.connections+slack || now.files > before.files+slack {
			return fmt.Errorf("it was %+v, and is %+v", before, now)
		}
		return nil
	})
	return now
}
