package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/proxy/clustertest"
)

// Clients watch a directory whose parent is deleted, again and again, on kept connections, like the Go client of etcd 2. No
// request may fail, at whatever time an event comes.
func TestNoConnectionIsResetUnderAClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, membertest.Start(t, 1).PeerURLs(), func(o *Options) { o.longWait = 2 * time.Millisecond }).await(1)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for worker := range 6 {
		random := rand.New(rand.NewPCG(seed, uint64(worker)))
		all.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 10}
			defer transport.CloseIdleConnections()
			parent := fmt.Sprintf("/v2/keys/p%d", worker)
			for range 40 {
				if err := watchAndDelete(transport, s.url, parent, time.Duration(random.IntN(5))*time.Millisecond); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// watchAndDelete watches a directory, deletes its parent some time later, and expects the event.
func watchAndDelete(transport *http.Transport, url, parent string, later time.Duration) error {
	if err := ask(transport, "PUT", url+parent+"/d/x", "value=1"); err != nil {
		return err
	}
	r, err := http.NewRequest("GET", url+parent+"/d?wait=true&recursive=true", nil)
	if err != nil {
		return err
	}
	watch, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer watch.Body.Close()
	pause(later)
	if err := ask(transport, "DELETE", url+parent+"?recursive=true", ""); err != nil {
		return err
	}
	event, err := io.ReadAll(watch.Body)
	if err == nil && !strings.HasPrefix(string(event), `{"action":`) {
		err = fmt.Errorf("%q is no event", event)
	}
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	return ask(transport, "PUT", url+parent+"/y", "value=2")
}

func ask(transport *http.Transport, method, url, form string) error {
	r, err := http.NewRequest(method, url, strings.NewReader(form))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// The next request is sent while a watch waits, and is answered on the same connection.
func TestAConnectionIsReusedAfterAWatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, membertest.Start(t, 1).PeerURLs(), waitsSoon).await(1)
	conn := s.dial("GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: h\r\n\r\n")
	in := bufio.NewReader(conn)
	watch, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the watch to be taken over", func() bool { s.feeds.mu.Lock(); defer s.feeds.mu.Unlock(); return len(s.feeds.open) == 1 })
	if _, err := io.WriteString(conn, "GET /v2/keys/w HTTP/1.1\r\nHost: h\r\n\r\nGET /v2/keys/none HTTP/1.1\r\nHo"); err != nil {
		t.Fatal(err)
	}
	s.do("PUT", "/v2/keys/w", "value=1")
	if event, err := io.ReadAll(watch.Body); err != nil || !strings.Contains(string(event), `"value":"1"`) {
		t.Fatalf("the event: %s, %v", event, err)
	}
	for _, want := range []int{200, 404, 200} {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("the next request: %v", err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != want {
			t.Errorf("the next request = %d, %v, want %d", answer.StatusCode, err, want)
		}
		rest := map[int]string{200: "st: h\r\n\r\n", 404: "GET /v2/keys/w HTTP/1.1\r\nHost: h\r\n\r\n"}[want]
		if _, err := io.WriteString(conn, rest); err != nil {
			t.Fatal(err)
		}
	}
}
