package e2e

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

var full = flag.Bool("full", false, "run what is a matter of scale at full scale, which takes minutes a test and both of two cores")

// scale is how much of something a test takes.
func scale[N int | time.Duration](small, atFull N) N {
	if *full {
		return atFull
	}
	return small
}

// crowd is many clients of one server, each with a connection of its own and
// one request under way. They are lean, since they share the machine with the
// server.
type crowd struct {
	address string                     // host:port
	size    int                        // how many clients
	request func(client, n int) []byte // what a client sends as its n-th request; nil ends it
	every   time.Duration              // from one request of a client to its next; 0: it does not wait
	done    atomic.Int64               // requests that were answered
}

// run lets the clients work until their requests or the context end, and gives
// how long each answer took.
func (c *crowd) run(ctx context.Context) (latencies, error) {
	took := make([]latencies, c.size)
	group, ctx := errgroup.WithContext(ctx)
	for n := range c.size {
		group.Go(func() (err error) {
			took[n], err = c.client(ctx, n)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(took...), err
}

func (c *crowd) client(ctx context.Context, client int) (latencies, error) {
	connection, err := net.Dial("tcp", c.address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	var took latencies
	var due <-chan time.Time
	if c.every > 0 {
		<-time.After(c.every * time.Duration(client) / time.Duration(c.size)) // not all at once
		tick := time.NewTicker(c.every)
		defer tick.Stop()
		due = tick.C
	}
	r := bufio.NewReader(connection)
	for n := 0; ctx.Err() == nil; n++ {
		request := c.request(client, n)
		if request == nil {
			break
		}
		if due != nil {
			<-due
		}
		began := time.Now()
		status, err := exchange(connection, r, request)
		if err == nil && status >= 300 {
			err = fmt.Errorf("request %d of client %d: %d", n, client, status)
		}
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
		c.done.Add(1)
	}
	return took, nil
}

// exchange sends a request and reads its answer, of which it gives the status.
func exchange(connection net.Conn, r *bufio.Reader, request []byte) (status int, err error) {
	if err := connection.SetDeadline(time.Now().Add(hang)); err != nil {
		return 0, err
	}
	if _, err := connection.Write(request); err != nil {
		return 0, err
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		value, isLength := bytes.CutPrefix(line, []byte("Content-Length: "))
		switch {
		case status == 0 && len(line) > 12:
			status, err = strconv.Atoi(string(line[len("HTTP/1.1 "):12]))
		case isLength:
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
		case len(line) == len("\r\n"):
			_, err = r.Discard(length)
			return status, err
		}
		if err != nil {
			return 0, err
		}
	}
}

// put is the request that writes a value.
func put(key, value string) []byte {
	return fmt.Appendf(nil, "PUT /v2/keys%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nvalue=%s",
		key, len("value=")+len(value), value)
}

func (s *server) address() string { return strings.TrimPrefix(s.client, "http://") }

// latencies are how long requests took.
type latencies []time.Duration

// at is the time within which a part of the requests was answered.
func (l latencies) at(part float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(int(float64(len(l))*part), len(l)-1)]
}

func (l latencies) String() string {
	return fmt.Sprintf("%d requests, median %v, p99 %v, p99.9 %v, worst %v", len(l), l.at(0.5), l.at(0.99), l.at(0.999), l.at(1))
}

// watermark is the most that was ever seen of something.
type watermark struct {
	most int64
	stop func()
}

// highest looks at a measure again and again until stop is called.
func highest(every time.Duration, measure func() int64) *watermark {
	w := &watermark{most: measure()}
	end, ended := make(chan struct{}), make(chan struct{})
	w.stop = func() {
		close(end)
		<-ended
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.most = max(w.most, measure())
			case <-end:
				w.most = max(w.most, measure())
				return
			}
		}
	}()
	return w
}

// Ten keys are written over and over, five million times at full scale: what
// the server takes of the disk and of memory has a ceiling all the while (R15,
// R33). That is the five logs and five snapshots which are kept by default, the
// history of a hundred thousand events, and what a log may have in memory.
func TestOverwritesHaveACeiling(t *testing.T) {
	parallel(t)
	const diskMost, residentMost = 160 << 20, 256 << 20
	s := newServer(t).start()
	writes, clients := scale(50_000, 5_000_000), 256
	value := strings.Repeat("x", 64)
	load := &crowd{address: s.address(), size: clients, request: func(client, n int) []byte {
		if n*clients+client >= writes {
			return nil
		}
		return put(fmt.Sprintf("/ten/%d", (n*clients+client)%10), value)
	}}
	disk := highest(time.Second, func() int64 { return diskUse(t, s.dir) })
	resident := highest(time.Second, s.residentBytes)
	began := time.Now()
	took, err := load.run(t.Context())
	disk.stop()
	resident.stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f writes a second: %v", float64(len(took))/time.Since(began).Seconds(), took)
	t.Logf("at most %d MiB on disk and %d MiB resident, and %d MiB at the end", disk.most>>20, resident.most>>20, s.residentBytes()>>20)
	if load.done.Load() != int64(writes) {
		t.Errorf("%d writes were acknowledged, want %d", load.done.Load(), writes)
	}
	if disk.most > diskMost || resident.most > residentMost {
		t.Errorf("the ceiling is %d MiB on disk and %d MiB resident", diskMost>>20, residentMost>>20)
	}
	if a := s.must(200, "GET", "/v2/keys/ten", ""); strings.Count(a.body, `"value":"`+value) != 10 {
		t.Errorf("the ten keys are %s", a.body)
	}
}
