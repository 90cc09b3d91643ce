package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

// text collects what a command writes while it runs.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// running is a command that runs.
type running struct {
	out, err text
	stop     context.CancelFunc
	exit     chan int
}

func begin(t *testing.T, endpoints []string, args ...string) *running {
	t.Helper()
	r := &running{exit: make(chan int, 1)}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	env := Env{Name: "etcdctl", In: strings.NewReader(""), Out: &r.out, Err: &r.err,
		Getenv: func(name string) string {
			return map[string]string{"ETCDCTL_ENDPOINTS": strings.Join(endpoints, ",")}[name]
		},
		OpenTerminal: func() (*os.File, error) { return nil, errors.New("there is no terminal") }}
	go func() { r.exit <- Run(ctx, env, args) }()
	t.Cleanup(func() {
		stop()
		select {
		case exit := <-r.exit:
			r.exit <- exit
		case <-time.After(patience):
			t.Errorf("%q does not end", args)
		}
	})
	return r
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

func newClient(t *testing.T, endpoints []string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A rolling restart of three members under watch --forever and exec-watch: each change is seen once, in order (C37, C39, section
// 12.4 of C).
func TestWatchesAcrossARollingRestart(t *testing.T) {
	t.Parallel()
	cluster := membertest.Start(t, 3)
	urls := cluster.ClientURLs()
	c := newClient(t, urls)
	first, err := c.Set(t.Context(), "/w/k", "0", client.SetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(t.TempDir(), "seen")
	after := strconv.FormatUint(first.Node.ModifiedIndex, 10)
	watch := begin(t, urls, "watch", "--forever", "--recursive", "--after-index", after, "/w")
	run := begin(t, urls, "exec-watch", "--after-index", after, "/w/k", "--", "sh", "-c", "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE >> "+seen)
	var wantWatch, wantRun strings.Builder
	write := func(n int) {
		t.Helper()
		eventually(t, "a write", func() bool {
			_, err := c.Set(t.Context(), "/w/k", strconv.Itoa(n), client.SetOptions{PrevValue: strconv.Itoa(n - 1)})
			return err == nil || errors.Is(err, client.ErrCompareFailed) // an earlier try was done
		})
		fmt.Fprintf(&wantWatch, "[compareAndSwap] /w/k\n%d\n", n)
		fmt.Fprintf(&wantRun, "compareAndSwap /w/k %d\n", n)
	}
	n := 1
	for _, m := range cluster.Members {
		write(n)
		m.Stop()
		write(n + 1)
		write(n + 2)
		m.Start()
		n += 3
	}
	write(n)
	eventually(t, "all changes in watch", func() bool { return len(watch.out.String()) >= wantWatch.Len() })
	if got := watch.out.String(); got != wantWatch.String() {
		t.Errorf("watch prints\n%swant\n%s", got, &wantWatch)
	}
	var got []byte
	eventually(t, "all changes in exec-watch", func() bool { got, _ = os.ReadFile(seen); return len(got) >= wantRun.Len() })
	if string(got) != wantRun.String() {
		t.Errorf("exec-watch runs\n%swant\n%s", got, &wantRun)
	}
	watch.stop()
	run.stop()
	if a, b := <-watch.exit, <-run.exit; a != 0 || b != 0 {
		t.Errorf("C36: interrupted, they end with %d and %d", a, b)
	}
	watch.exit <- 0
	run.exit <- 0
}

// A watch that begins before the history says so and goes on; with --strict it ends (C37).
func TestAWatchBeforeTheHistory(t *testing.T) {
	t.Parallel()
	cluster := membertest.StartWith(t, 1, 10)
	urls := cluster.ClientURLs()
	c := newClient(t, urls)
	for n := range 30 {
		if _, err := c.Set(t.Context(), "/k", strconv.Itoa(n), client.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	strict := begin(t, urls, "watch", "--forever", "--strict", "--after-index", "5", "/k")
	if exit := <-strict.exit; exit != exitServer || !strings.Contains(strict.err.String(), "401: ") {
		t.Errorf("--strict ends with %d: %s", exit, &strict.err)
	}
	strict.exit <- exitServer
	watch := begin(t, urls, "watch", "--forever", "--after-index", "5", "/k")
	eventually(t, "the gap is told", func() bool {
		return strings.Contains(watch.err.String(), "changes after index 5 are no longer in the history")
	})
	if _, err := c.Set(t.Context(), "/k", "last", client.SetOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next change", func() bool { return watch.out.String() == "last\n" })
}

// Commands run one at a time; one that fails is told, and the next ones run (C39).
func TestExecWatchGoesOn(t *testing.T) {
	t.Parallel()
	urls := membertest.Start(t, 1).ClientURLs()
	c := newClient(t, urls)
	for _, value := range []string{"1", "2", "3"} {
		if _, err := c.Set(t.Context(), "/k", value, client.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Set(t.Context(), "/dir", "", client.SetOptions{Dir: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Set(t.Context(), "/k", "4", client.SetOptions{}); err != nil {
		t.Fatal(err)
	}
	run := begin(t, urls, "exec-watch", "--recursive", "--after-index", "1", "/", "--", "sh", "-c", "exec 2>&1; echo begin $ETCD_WATCH_VALUE; echo end $ETCD_WATCH_VALUE; exit $(( $ETCD_WATCH_VALUE % 2 ))")
	want := "begin 1\nend 1\nbegin 2\nend 2\nbegin 3\nend 3\nbegin 4\nend 4\n"
	eventually(t, "all commands", func() bool { return run.out.String() == want })
	for _, told := range []string{"sh, for the change 4 of /k: exit status 1\n", "sh, for the change 6 of /k: exit status 1\n", "Ignored dir /dir change\n"} {
		if strings.Count(run.err.String(), told) != 1 {
			t.Errorf("no %q in %s", told, &run.err)
		}
	}
}
