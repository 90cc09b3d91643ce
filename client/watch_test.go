package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
	"canopy/internal/rng"
)

func TestWatchFromNowOn(t *testing.T) {
	c, ctx := newClient(t, membertest.Start(t, 1).ClientURLs()...), soon(t)
	wants(t)(c.Set(ctx, "/f", "before", client.SetOptions{}))
	for _, key := range []string{"/dir", "/none yet", "/f/below", "/"} {
		w := c.Watch(key, client.WatchOptions{Recursive: true})
		events := make(chan *client.Response, 1)
		go func() {
			r, err := w.Next(ctx)
			if err != nil {
				t.Errorf("Next: %v", err)
			}
			events <- r
		}()
		// Writes until one comes after the start of the watch.
		for n := 0; ; n++ {
			if _, err := c.Set(ctx, "/other", fmt.Sprint(n), client.SetOptions{}); err != nil {
				t.Fatal(err)
			}
			if key == "/f/below" {
				wants(t)(c.Delete(ctx, "/f", client.DeleteOptions{}))
				wants(t)(c.Set(ctx, "/f/below", "now", client.SetOptions{}))
				wants(t)(c.Delete(ctx, "/f", client.DeleteOptions{Recursive: true}))
				wants(t)(c.Set(ctx, "/f", "again", client.SetOptions{}))
			} else {
				wants(t)(c.Set(ctx, strings.TrimSuffix(key, "/")+"/child", "now", client.SetOptions{}))
			}
			select {
			case r := <-events:
				if r.Node.ModifiedIndex != w.After() || r.Action == "get" {
					t.Errorf("%s: %+v, position %d", key, r.Node, w.After())
				}
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
	}
}

func TestWatchOfClearedHistory(t *testing.T) {
	c, ctx := newClient(t, membertest.StartWith(t, 1, 50).ClientURLs()...), soon(t)
	for range 100 {
		wants(t)(c.Set(ctx, "/other", "v", client.SetOptions{}))
	}
	w := c.Watch("/k", client.WatchOptions{After: 5})
	_, err := w.Next(ctx)
	var said *client.Error
	if !errors.Is(err, client.ErrIndexCleared) || !errors.As(err, &said) || said.Index < 100 || w.After() != 5 {
		t.Fatalf("Next = %v, position %d", err, w.After())
	}
	r := wants(t)(c.Set(ctx, "/k", "v", client.SetOptions{}))
	again, err := c.Watch("/k", client.WatchOptions{After: said.Index}).Next(ctx)
	if err != nil || again.Node.ModifiedIndex != r.Index {
		t.Errorf("watched on: %+v, %v", again, err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	c := newClient(t, membertest.Start(t, 1).ClientURLs()...)
	w := c.Watch("/k", client.WatchOptions{})
	short, cancel := context.WithTimeout(soon(t), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next = %v", err)
	}
	r := wants(t)(c.Set(soon(t), "/k", "v", client.SetOptions{}))
	if again, err := w.Next(soon(t)); err != nil || again.Node.ModifiedIndex != r.Index {
		t.Errorf("after the end of a context: %+v, %v", again, err)
	}
}

// Poll returns an error where Next waits, and the next Poll continues.
func TestPollReturnsFailures(t *testing.T) {
	member, ctx := membertest.Start(t, 1).Members[0], soon(t)
	c := newClient(t, member.ClientURL)
	r := wants(t)(c.Set(ctx, "/k", "1", client.SetOptions{}))
	w := c.Watch("/k", client.WatchOptions{After: r.Index - 1})
	member.Stop()
	var failed *client.ClusterError
	if _, err := w.Poll(ctx); !errors.As(err, &failed) || w.After() != r.Index-1 {
		t.Errorf("Poll = %v, position %d", err, w.After())
	}
	member.Start()
	if event, err := w.Poll(ctx); err != nil || event.Node.ModifiedIndex != r.Index {
		t.Errorf("Poll = %+v, %v", event, err)
	}
}

// Members stop and start at random, while one client writes and another one watches.
func TestWatchSurvivesMembers(t *testing.T) {
	rng, cluster, ctx := rng.New(t), membertest.Start(t, 3), soon(t)
	const changes = 300
	w := newClient(t, cluster.ClientURLs()...).Watch("/w", client.WatchOptions{Recursive: true, After: 1})
	var seen []string
	var all sync.WaitGroup
	all.Go(func() {
		for len(seen) < changes {
			r, err := w.Next(ctx)
			if err != nil {
				t.Errorf("Next: %v", err)
				return
			}
			seen = append(seen, r.Node.Value)
		}
	})
	written := make(chan struct{})
	all.Go(func() {
		defer close(written)
		c := newClient(t, cluster.ClientURLs()...)
		for n := range changes {
			if err := setOnce(ctx, c, n); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for restarts := 0; ; restarts++ {
		select {
		case <-written:
			all.Wait()
			t.Logf("%d restarts", restarts)
			for n, value := range seen {
				if value != fmt.Sprint(n) {
					t.Fatalf("change %d is %q, want %d", n, value, n)
				}
			}
			return
		default:
		}
		m := cluster.Members[rng.IntN(3)]
		m.Stop()
		m.Start()
	}
}

// setOnce makes the n-th change exactly once, whatever the answers are.
func setOnce(ctx context.Context, c *client.Client, n int) error {
	o := client.SetOptions{PrevExist: client.Never}
	for {
		_, err := c.Set(ctx, fmt.Sprintf("/w/%d", n), fmt.Sprint(n), o)
		if err == nil || errors.Is(err, client.ErrNodeExist) || ctx.Err() != nil {
			return unlessMade(ctx, err)
		}
	}
}

// unlessMade is nil for a change that an earlier try made.
func unlessMade(ctx context.Context, err error) error {
	if errors.Is(err, client.ErrNodeExist) {
		return nil
	}
	return errors.Join(err, ctx.Err())
}

// cutter is between a client and a member, and breaks connections: after some bytes of an answer, or before any.
func cutter(t *testing.T, target string, bytes func() int64) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { relayAndCut(conn, target, bytes()) })
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return "http://" + listener.Addr().String()
}

func relayAndCut(conn net.Conn, target string, bytes int64) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
	if err != nil {
		return
	}
	defer server.Close()
	request.Header.Set("Connection", "close")
	if request.Write(server) == nil {
		io.CopyN(conn, server, bytes) // and cut
	}
}

// Each answer is cut at a random place.
func TestWatchOverBrokenConnections(t *testing.T) {
	rng, member, ctx := rng.New(t), membertest.Start(t, 1).Members[0], soon(t)
	var mu sync.Mutex // guards rng
	relay := cutter(t, member.ClientURL, func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Int64N(2000)
	})
	direct := newClient(t, member.ClientURL)
	const changes = 100
	for n := range changes {
		wants(t)(direct.Set(ctx, "/w/k", fmt.Sprint(n), client.SetOptions{}))
	}
	w := newClient(t, relay, relay+"/").Watch("/w", client.WatchOptions{Recursive: true, After: 1})
	for n := range changes {
		r, err := w.Next(ctx)
		if err != nil || r.Node.Value != fmt.Sprint(n) {
			t.Fatalf("change %d: %+v, %v", n, r, err)
		}
	}
}

// A server that stops ends watches with complete, empty answers (E45); the test sends many of them.
func TestWatchOfAnEmptyAnswer(t *testing.T) {
	empty, requests := breaker(t, answerText(200, ""))
	short, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	_, err := newClient(t, empty).Watch("/k", client.WatchOptions{After: 7}).Next(short)
	if n := requests.Load(); !errors.Is(err, context.DeadlineExceeded) || n < 2 || n > 20 {
		t.Errorf("%d requests, %v", n, err)
	}
}
