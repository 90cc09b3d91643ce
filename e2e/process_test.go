package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var binary string // the built program

func TestMain(m *testing.M) {
	if flag.Parse(); *attacking != "" {
		fmt.Fprintln(os.Stderr, press(*attacking, flag.Arg(0)))
		os.Exit(1)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "canopy-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := shareProcessors(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "canopy")
	build := exec.Command("go", "build", "-o", binary, "canopy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return m.Run()
}

// shareProcessors lets more tests run at once than there are processors, unless
// -parallel says how many: most of what they do is to wait.
func shareProcessors() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
}

// parallel lets a test run beside others. At full scale, where bounds of time
// and memory are judged, each test has the machine to itself.
func parallel(t *testing.T) {
	if !*full {
		t.Parallel()
	}
}

// lookAtSources has the tests run again when the program has changed: go test
// remembers a result as long as the files that the tests looked at are the
// same, and does not know what go build has read. What TestMain looks at it
// does not see.
var lookAtSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.Stat(path)
		}
		return err
	})
})

// server is one process of the program.
type server struct {
	t       *testing.T
	name    string
	cluster string // --initial-cluster; "": the flag is not given
	dir     string
	client  string // http://127.0.0.1:port
	peer    string
	flags   []string
	wrap    []string     // what the program is run by, if anything
	line    []string     // the whole command, if it is another one than that of a member
	environ []string     // variables besides those of the test
	http    *http.Client // for requests to it
	command *exec.Cmd
	output  *lockedBuffer
	exited  chan struct{} // closed when the process has ended
}

// lockedBuffer takes a process's output while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex // guards b
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

func newServer(t *testing.T, flags ...string) *server {
	t.Helper()
	s := &server{t: t, name: "default", dir: filepath.Join(t.TempDir(), "data"), client: freeURL(t), peer: freeURL(t), flags: flags, http: http.DefaultClient}
	s.cluster = s.name + "=" + s.peer
	return s
}

// freeURL names a port that nothing listens on. It is none that the system gives
// to outgoing connections, one of which might have it by the time it is used.
func freeURL(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+(ports.Add(1)%(lastPort-firstPort)))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return "http://" + address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// The ports of the tests; each process begins somewhere else.
const firstPort, lastPort = 10_000, 32_000

var ports = func() *atomic.Uint32 {
	var next atomic.Uint32
	next.Store(rand.Uint32N(lastPort - firstPort))
	return &next
}()

// start runs the program and waits until it serves.
func (s *server) start() *server {
	s.t.Helper()
	s.launch()
	s.waitServing()
	return s
}

func (s *server) launch() {
	s.t.Helper()
	if err := lookAtSources(); err != nil {
		s.t.Fatal(err)
	}
	line := append(slices.Clone(s.wrap), s.args()...)
	s.command = exec.Command(line[0], line[1:]...)
	s.command.Env = append(os.Environ(), s.environ...)
	s.output = &lockedBuffer{}
	s.command.Stdout, s.command.Stderr = s.output, s.output
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	exited, command := make(chan struct{}), s.command
	s.exited = exited
	go func() {
		command.Wait() // the state is read from ProcessState
		close(exited)
	}()
	s.t.Cleanup(func() {
		command.Process.Kill() // fails if it has ended: fine
		<-exited
		if s.t.Failed() {
			s.t.Logf("output of process %d:\n%s", command.Process.Pid, tail(s.output.String(), 60))
		}
	})
}

// args is the command.
func (s *server) args() []string {
	if s.line != nil {
		return s.line
	}
	args := []string{
		binary, "--name", s.name, "--data-dir", s.dir, "--listen-client-urls", s.client, "--advertise-client-urls", s.client,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer,
	}
	if s.cluster != "" {
		args = append(args, "--initial-cluster", s.cluster)
	}
	return append(args, s.flags...)
}

func tail(text string, lines int) string {
	all := bytes.Split([]byte(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

func (s *server) waitServing() {
	s.t.Helper()
	eventually(s.t, hang, "the server to serve", func() error {
		select {
		case <-s.exited:
			s.t.Fatalf("the server ended: %v\n%s", s.command.ProcessState, s.output)
		default:
		}
		response, err := s.http.Get(s.client + "/health")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK && !strings.Contains(string(body), "the disk is full") { // it serves reads and deletes
			return fmt.Errorf("health: %s %s", response.Status, body)
		}
		return nil
	})
}

// signal sends sig and waits for the end of the process; it gives the exit status.
func (s *server) signal(sig os.Signal) int {
	s.t.Helper()
	if err := s.command.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal the server: %v", err)
	}
	return s.waitExit()
}

func (s *server) waitExit() int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.command.ProcessState.ExitCode()
	case <-time.After(hang):
		s.t.Fatalf("the server did not end\n%s", tail(s.output.String(), 40))
		return -1
	}
}

func (s *server) kill() { s.signal(syscall.SIGKILL) }

// hang is how long a test waits for what needs no more than a moment on a machine
// that does nothing else: only what never comes takes longer.
const hang = 2 * time.Minute

// eventually tries until there is no error, or fails after the limit.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for %s: %v", limit, what, err)
		}
	}
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request; the form, if not empty, is the body.
func (s *server) do(method, path, form string) (answer, error) {
	return send(s.http, method, s.client+path, form)
}

func send(client *http.Client, method, url, form string) (answer, error) {
	request, err := http.NewRequest(method, url, bytes.NewBufferString(form))
	if err != nil {
		return answer{}, err
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return receive(client, request)
}

func receive(client *http.Client, request *http.Request) (answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

// must is do for requests that have to be answered with the status.
func (s *server) must(status int, method, path, form string) answer {
	s.t.Helper()
	a, err := s.do(method, path, form)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status {
		s.t.Fatalf("%s %s = %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}
