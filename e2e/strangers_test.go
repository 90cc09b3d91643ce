package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// strangers keep connections to a port open, with half a request on each, until
// the test ends. from is their address.
func strangers(t *testing.T, from, url string, connections int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all, first sync.WaitGroup
	first.Add(connections)
	for range connections {
		all.Go(func() {
			begun := sync.OnceFunc(first.Done)
			defer begun()
			for ctx.Err() == nil {
				stranger(ctx, from, strings.TrimPrefix(url, "http://"), begun)
			}
		})
	}
	first.Wait()
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
}

// stranger holds one connection until the server closes it. One that is closed
// at once comes back after a while, and another at once.
func stranger(ctx context.Context, from, address string, begun func()) {
	again := time.NewTimer(rand.N(500 * time.Millisecond))
	defer again.Stop()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 2 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		io.WriteString(c, "GET /canopy/peer/stream HTTP/1.1\r\nHost: a\r\nX-") // if it fails, so does reading
		begun()
		io.Copy(io.Discard, c)
	}
	select {
	case <-again.C:
	case <-ctx.Done():
	}
}

// TestStrangersDoNotCutMembersOff: more half-sent requests than a peer port has
// places keep no member from the others, be it the one that was restarted or
// those that need a new leader.
func TestStrangersDoNotCutMembersOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.members[0].must(http.StatusCreated, "PUT", "/v2/keys/a", "value=1")
	for _, s := range c.members {
		strangers(t, "127.0.0.1", s.peer, 300)
	}
	leader := c.leader()
	follower := c.others(leader)[0]
	follower.kill()
	follower.start()
	leader.kill()
	eventually(t, time.Minute, "a write without the old leader", func() error {
		a, err := send(quick, "PUT", follower.client+"/v2/keys/a?value=2", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("it answers %d %s", a.status, a.body)
		}
		return err
	})
}

// openWatches opens watches from an address until so many are open, or one is
// refused, and keeps them until the test ends.
func openWatches(t *testing.T, s *server, from string, most int) (open int) {
	t.Helper()
	for ; open < most; open++ {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := dialer.Dial("tcp", strings.TrimPrefix(s.client, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, "GET /v2/keys/w?wait=true&stream=true HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatalf("watch %d from %s is closed without an answer: %v", open, from, err)
		}
		if string(head) == "HTTP/1.1 503" {
			return open
		}
	}
	return open
}

// fewFiles has a server run with so many descriptors.
func fewFiles(s *server, limit int) {
	s.wrap = []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, limit), "sh"}
}

// TestDescriptorsRunOut: with watches on all connections that there can be, and
// strangers on the peer port, a member goes on to write snapshots, and answers
// those who ask how it is.
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--snapshot-count", "50")
	fewFiles(s, 1024)
	s.start()
	writer := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer writer.CloseIdleConnections()
	write := func(n int) {
		a, err := send(writer, "PUT", s.client+"/v2/keys/a", fmt.Sprintf("value=%d-%s", n, strings.Repeat("x", 4<<10)))
		if err != nil || a.status > http.StatusCreated {
			t.Fatalf("write %d: %d %s, %v", n, a.status, a.body, err)
		}
	}
	write(0)
	if open := openWatches(t, s, "127.0.0.1", 870); open < 870 {
		t.Errorf("%d watches could be opened, want 870", open)
	}
	strangers(t, "127.0.0.1", s.peer, 256)
	for n := range 400 {
		write(n)
	}
	eventually(t, time.Minute, "a snapshot", func() error {
		found, err := filepath.Glob(filepath.Join(s.dir, "member/snap/*.snap"))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	s.must(http.StatusOK, "GET", "/health", "")
}

// TestOneClientLeavesRoomForOthers: whoever takes all connections that a client
// can have leaves some to others, and can still ask how the member is.
func TestOneClientLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	fewFiles(s, 256)
	s.start()
	http.DefaultClient.CloseIdleConnections()
	if open := openWatches(t, s, "127.0.0.2", 256); open == 256 {
		t.Fatalf("one client has %d connections of 256 descriptors", open)
	}
	s.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
	from := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}).DialContext}
	defer from.CloseIdleConnections()
	for path, want := range map[string]int{"/health": 200, "/metrics": 200, "/v2/members": 200, "/v2/keys/ordinary": 503} {
		a, err := send(&http.Client{Transport: from}, "GET", s.client+path, "")
		if err != nil || a.status != want {
			t.Errorf("%s for a client that has all its connections: %d %s, %v, want %d", path, a.status, a.body, err, want)
		}
	}
}

// TestSparePlacesCannotBeTaken: with all connections in use, half-sent requests
// on the spare ones keep nobody from asking how the member is.
func TestSparePlacesCannotBeTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--max-connections-per-client", "4")
	s.start()
	http.DefaultClient.CloseIdleConnections()
	if open := openWatches(t, s, "127.0.0.2", 5); open != 4 {
		t.Fatalf("%d watches are open, want 4", open)
	}
	strangers(t, "127.0.0.2", s.client, 50)
	from := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}).DialContext, DisableKeepAlives: true}
	eventually(t, time.Minute, "its health", func() error {
		a, err := send(&http.Client{Transport: from}, "GET", s.client+"/health", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("it answers %d %s", a.status, a.body)
		}
		return err
	})
	s.must(http.StatusCreated, "PUT", "/v2/keys/ordinary", "value=1")
}
