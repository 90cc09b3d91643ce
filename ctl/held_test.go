package ctl

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

// awaitFile waits until a child has made a file.
func awaitFile(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s is not made", name)
		}
	}
}

// lockedBuffer is written by a command and its child.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// heldRun is a lock command that runs beside the test.
type heldRun struct {
	started        string // a file that the child makes
	stdout, stderr lockedBuffer
	exit           chan int
}

func startHeld(t *testing.T, endpoint string, args ...string) *heldRun {
	t.Helper()
	r := &heldRun{started: filepath.Join(t.TempDir(), "started"), exit: make(chan int, 1)}
	for n := range args {
		args[n] = strings.ReplaceAll(args[n], "STARTED", r.started)
	}
	env := Env{Name: "etcdctl", In: strings.NewReader(""), Out: &r.stdout, Err: &r.stderr,
		Getenv: func(string) string { return "" }, OpenTerminal: func() (*os.File, error) { return nil, errors.New("none") }}
	go func() { r.exit <- Run(t.Context(), env, append([]string{"--endpoints", endpoint}, args...)) }()
	return r
}

func (r *heldRun) await(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-r.exit:
		if got != want {
			t.Errorf("the exit status is %d, want %d; %s", got, want, &r.stderr)
		}
	case <-time.After(patience):
		t.Fatal("the command does not end")
	}
}

// emptied tells whether nobody is in the queue any more.
func emptied(t *testing.T, c *client.Client, dir string) {
	t.Helper()
	r, err := c.Get(t.Context(), dir, client.GetOptions{Quorum: true})
	if err != nil || len(r.Node.Nodes) != 0 {
		t.Errorf("%s is not empty: %v, %v", dir, r, err)
	}
}

func TestLockRunsACommand(t *testing.T) {
	cluster := membertest.Start(t, 1)
	c, endpoint := newClient(t, cluster.ClientURLs()), cluster.ClientURLs()[0]

	r := startHeld(t, endpoint, "lock", "/l", "--", "sh", "-c", `echo "$ETCD_LOCK_KEY $ETCD_LOCK_INDEX"; exit 3`)
	r.await(t, 3)
	key, token, _ := strings.Cut(strings.TrimSpace(r.stdout.String()), " ")
	if !strings.HasPrefix(key, "/l/0") || token == "" || strings.TrimLeft(strings.TrimPrefix(key, "/l/"), "0") != token {
		t.Errorf("the command has the key %q and the index %q in its environment", key, token)
	}
	emptied(t, c, "/l")

	startHeld(t, endpoint, "lock", "/l", "--", "sh", "-c", `kill -9 $$`).await(t, 128+9)
	startHeld(t, endpoint, "lock", "/l", "--", "/nonexistent").await(t, 1)
	startHeld(t, endpoint, "lock", "/l", "--ttl", "0", "--", "true").await(t, 1)
	startHeld(t, endpoint, "lock").await(t, 1)
	emptied(t, c, "/l")
}

// The second holder gets the lock when the first one is done, and a greater token.
func TestLockIsHeldByOne(t *testing.T) {
	cluster := membertest.Start(t, 3)
	c, endpoint := newClient(t, cluster.ClientURLs()), cluster.ClientURLs()[0]
	file := filepath.Join(t.TempDir(), "order")
	var all []*heldRun
	for range 4 {
		all = append(all, startHeld(t, endpoint, "lock", "/l", "--", "sh", "-c", `mkdir "`+file+`.busy" && echo $ETCD_LOCK_INDEX >> "`+file+`" && sleep 0.05 && rmdir "`+file+`.busy"`))
	}
	for _, r := range all {
		r.await(t, 0)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	tokens := strings.Fields(string(text))
	for _, token := range tokens {
		if len(token) < len(last) || len(token) == len(last) && token <= last {
			t.Errorf("the tokens are not in order: %v", tokens)
		}
		last = token
	}
	if len(tokens) != 4 {
		t.Errorf("the lock was held %d times", len(tokens))
	}
	emptied(t, c, "/l")
}

func TestLockThatIsLostEndsTheCommand(t *testing.T) {
	cluster := membertest.Start(t, 1)
	c, endpoint := newClient(t, cluster.ClientURLs()), cluster.ClientURLs()[0]
	for name, script := range map[string]string{
		"TERM": `trap 'exit 0' TERM; : > STARTED; while :; do sleep 0.02; done`,
		"KILL": `trap '' TERM; : > STARTED; while :; do sleep 0.02; done`,
	} {
		t.Run(name, func(t *testing.T) {
			r := startHeld(t, endpoint, "lock", "/lost", "--ttl", "2", "--kill-after", "50ms", "--", "sh", "-c", script)
			awaitFile(t, r.started)
			if _, err := c.Delete(t.Context(), "/lost", client.DeleteOptions{Recursive: true}); err != nil {
				t.Fatal(err)
			}
			r.await(t, exitServer)
			if !strings.Contains(r.stderr.String(), "is lost") {
				t.Errorf("nobody is told: %s", &r.stderr)
			}
		})
	}
}

func TestLockPassesSignals(t *testing.T) {
	cluster := membertest.Start(t, 1)
	r := startHeld(t, cluster.ClientURLs()[0], "lock", "/l", "--", "sh", "-c", `trap 'exit 9' USR1; : > STARTED; while :; do sleep 0.02; done`)
	awaitFile(t, r.started)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r.await(t, 9)
	emptied(t, newClient(t, cluster.ClientURLs()), "/l")
}

func TestElect(t *testing.T) {
	cluster := membertest.Start(t, 1)
	c, endpoint := newClient(t, cluster.ClientURLs()), cluster.ClientURLs()[0]
	first := startHeld(t, endpoint, "elect", "/e", "one", "--", "sh", "-c", `: > STARTED; while [ -e STARTED ]; do sleep 0.02; done`)
	awaitFile(t, first.started)
	second := startHeld(t, endpoint, "elect", "/e", "two", "--", "sh", "-c", `: > STARTED`)
	r, err := c.Get(t.Context(), "/e", client.GetOptions{Sorted: true})
	if err != nil || len(r.Node.Nodes) == 0 || r.Node.Nodes[0].Value != "one" {
		t.Errorf("one does not lead: %v, %v", r, err)
	}
	if err := os.Remove(first.started); err != nil {
		t.Fatal(err)
	}
	first.await(t, 0)
	second.await(t, 0)
	awaitFile(t, second.started)
	emptied(t, c, "/e")
	startHeld(t, endpoint, "elect", "/e").await(t, 1)
	startHeld(t, endpoint, "elect", "/e", "v", "--listen").await(t, 1)
}
