package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The limits on the member of the test below.
const (
	smallMemory = 512 << 20
	smallFiles  = 1024
)

// confine has the server run in a cgroup with little memory, or, where none can
// be made, with RLIMIT_DATA, and in any case with few file descriptors.
func (s *server) confine() {
	s.t.Helper()
	setup := fmt.Sprintf("ulimit -n %d; ", smallFiles)
	group, err := newCgroup(s.t)
	if err == nil {
		setup += fmt.Sprintf("echo $$ > %s; ", filepath.Join(group, "cgroup.procs"))
	} else {
		s.t.Logf("RLIMIT_DATA stands for a cgroup: %v", err)
		setup += fmt.Sprintf("ulimit -d %d; ", smallMemory>>10)
	}
	s.wrap = []string{"sh", "-ec", setup + `exec "$@"`, "sh"}
}

// newCgroup makes a cgroup of version 1 or 2 whose processes have smallMemory,
// swap included.
func newCgroup(t *testing.T) (string, error) {
	var errs []error
	for _, version := range [][2]string{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}} {
		dir := filepath.Join(version[0], fmt.Sprintf("canopy-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		t.Cleanup(func() {
			eventually(t, 10*time.Second, "the cgroup to be empty", func() error { return os.Remove(dir) })
		})
		if err := os.WriteFile(filepath.Join(dir, version[1]), fmt.Append(nil, smallMemory), 0o644); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, swap := range []string{"memory.memsw.limit_in_bytes", "memory.swap.max"} {
			limit := map[string]int{"memory.swap.max": 0, "memory.memsw.limit_in_bytes": smallMemory}[swap]
			_ = os.WriteFile(filepath.Join(dir, swap), fmt.Append(nil, limit), 0o644) // is not there if there is no swap
		}
		return dir, nil
	}
	return "", errors.Join(errs...)
}

// siege is what hostile clients do to a server at once. They come from an
// address of their own.
type siege struct {
	t       *testing.T
	s       *server
	clients sync.WaitGroup
	done    [4]atomic.Int64 // by the kind of client, what went well
}

// dial connects from the hostile address. The connection ends with ctx.
func (g *siege) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", g.s.address())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return c, nil
}

// repeat has many clients do the same over and over, each with a connection for
// each time.
func (g *siege) repeat(ctx context.Context, clients, kind int, use func(net.Conn, int) error) {
	for n := range clients {
		g.clients.Go(func() {
			for turn := n; ctx.Err() == nil; turn += clients {
				c, err := g.dial(ctx)
				if err == nil {
					if use(c, turn) == nil {
						g.done[kind].Add(1)
					}
					c.Close()
				}
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
}

// begin starts all of it.
func (g *siege) begin(ctx context.Context) {
	hold := func(c net.Conn) error { // for as long as the server bears it, without reading
		_, err := io.Copy(io.Discard, io.LimitReader(c, 1))
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
		return err
	}
	const host = " HTTP/1.1\r\nHost: localhost\r\n"
	value := large(1 << 20)
	put := func(c net.Conn, key, form string) error {
		fmt.Fprintf(c, "PUT /v2/keys%s?noValueOnSuccess=true%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", key, host, len(form), form)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && answer.StatusCode > http.StatusCreated {
			err = errors.New(answer.Status)
		}
		return err
	}
	g.repeat(ctx, 3, 0, func(c net.Conn, turn int) error { return put(c, fmt.Sprintf("/large/%d", turn%4), value) })
	g.repeat(ctx, 60, 1, func(c net.Conn, turn int) error {
		fmt.Fprintf(c, "GET /v2/keys/large%s%s\r\n", []string{"", "/0", "/1", "/2", "/3"}[turn%5], host)
		return hold(c)
	})
	header := "GET /v2/keys" + host + strings.Repeat("a:\r\nb:\r\nc:\r\n", 4000)
	g.repeat(ctx, 100, 1, func(c net.Conn, _ int) error {
		fmt.Fprint(c, header)
		return hold(c)
	})
	g.repeat(ctx, 100, 1, func(c net.Conn, _ int) error {
		fmt.Fprintf(c, "PUT /v2/keys/k%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", host, len(value), value[:len(value)/2])
		return hold(c)
	})
	g.repeat(ctx, 700, 2, func(c net.Conn, turn int) error {
		fmt.Fprintf(c, "GET /v2/keys/large?wait=true&recursive=true&stream=%v%s\r\n", turn%2 == 0, host)
		return hold(c)
	})
	for _, depth := range []int{500, 16_000} { // the second is refused, or costs little
		g.repeat(ctx, 2, 3, func(c net.Conn, turn int) error {
			return put(c, fmt.Sprintf("/deep/%d%s", turn%50, strings.Repeat("/d", depth)), "value=x")
		})
	}
}

// ordinary writes one small value after the other over a connection that it
// keeps, for as long as ctx lasts. It gives how long the answers took, the last
// number that was acknowledged, and how often it had to try again.
func (g *siege) ordinary(ctx context.Context) (took latencies, last, failed int) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		<-tick.C
		began := time.Now()
		a, err := send(client, "PUT", g.s.client+"/v2/keys/ordinary", fmt.Sprintf("value=%d", n))
		if err != nil || a.status > http.StatusCreated {
			failed++
			continue
		}
		took, last = append(took, time.Since(began)), n
	}
	return took, last, failed
}

// TestAMemberInSmallMemorySurvives (limits of 512 MiB and 1024 descriptors):
// large values are overwritten and read by clients that take nothing, headers
// and bodies do not end, hundreds of watches lag, keys are deep. The member
// serves an ordinary client all the while, and starts again in the same limits
// after a kill. At full scale it takes ten minutes, and that client's p99 is at
// most 100 ms.
func TestAMemberInSmallMemorySurvives(t *testing.T) {
	s := newServer(t)
	s.confine()
	s.start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/large/0?noValueOnSuccess=true", large(1<<20))
	g := &siege{t: t, s: s}
	ctx, end := context.WithTimeout(context.Background(), scale(5*time.Second, 10*time.Minute))
	defer end()
	g.begin(ctx)
	took, last, failed := g.ordinary(ctx)
	end()
	g.clients.Wait()
	t.Logf("an ordinary client: %v, %d failed; %d MiB resident", took, failed, s.residentBytes()>>20)
	t.Logf("hostile clients: %d large writes, %d slow ones, %d watches, %d deep keys", g.done[0].Load(), g.done[1].Load(), g.done[2].Load(), g.done[3].Load())
	if len(took) == 0 || failed > len(took)/100 {
		t.Errorf("%d ordinary writes were answered and %d failed", len(took), failed)
	}
	if p99 := took.at(0.99); *full && p99 > 100*time.Millisecond {
		t.Errorf("the p99 of an ordinary client was %v", p99)
	}
	select {
	case <-s.exited:
		t.Fatalf("the member ended: %v", s.command.ProcessState)
	default:
	}
	s.kill()
	s.start()
	if a := s.must(http.StatusOK, "GET", "/v2/keys/ordinary", ""); !strings.Contains(a.body, fmt.Sprintf(`"value":"%d"`, last)) && failed == 0 {
		t.Errorf("after the restart the value is %s, and %d was acknowledged last", a.body, last)
	}
}
