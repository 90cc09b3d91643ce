package e2e

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignalsEndTheServerInGoodOrder: exit 0, and open watches get the end of
// their body (F38, K113).
func TestSignalsEndTheServerInGoodOrder(t *testing.T) {
	parallel(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := newServer(t).start()
			once := openWatch(t, s, "/v2/keys/k?wait=true")
			stream := openWatch(t, s, "/v2/keys/k?wait=true&stream=true")
			if status := s.signal(sig); status != 0 {
				t.Errorf("exit status = %d, want 0", status)
			}
			for name, response := range map[string]*http.Response{"one-shot": once, "stream": stream} {
				if err := drain(response); err != nil {
					t.Errorf("the %s watch was cut: %v", name, err)
				}
			}
		})
	}
}

func openWatch(t *testing.T, s *server, path string) *http.Response {
	t.Helper()
	response, err := http.Get(s.client + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func drain(response *http.Response) error {
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
	}
	return scanner.Err()
}

// TestADirectoryHasOneServer: the second process is refused (B7).
func TestADirectoryHasOneServer(t *testing.T) {
	parallel(t)
	first := newServer(t).start()
	second := newServer(t)
	second.dir = first.dir
	second.launch()
	if status := second.waitExit(); status != 1 {
		t.Errorf("exit status = %d, want 1", status)
	}
	if out := second.output.String(); !strings.Contains(out, "in use by process") {
		t.Errorf("output does not say who holds the directory:\n%s", out)
	}
	first.must(http.StatusCreated, "PUT", "/v2/keys/k", "value=1")
}

// TestStateSurvivesARestart: tree, deadlines, indexes and history (K131, K133).
func TestStateSurvivesARestart(t *testing.T) {
	parallel(t)
	for _, flags := range [][]string{{}, {"--snapshot-count", "10"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			s := newServer(t, flags...).start()
			first := s.must(http.StatusCreated, "PUT", "/v2/keys/a/file", "value=%ff%00x")
			s.must(http.StatusCreated, "PUT", "/v2/keys/a/mortal", "value=1&ttl=500")
			for range 50 {
				s.must(http.StatusCreated, "POST", "/v2/keys/queue", "value=1")
			}
			before := s.must(http.StatusOK, "GET", "/v2/keys/?recursive=true&sorted=true", "")
			s.kill()
			s.start()
			after := s.must(http.StatusOK, "GET", "/v2/keys/?recursive=true&sorted=true", "")
			if withoutTimes(before.body) != withoutTimes(after.body) {
				t.Errorf("before:\n%s\nafter:\n%s", before.body, after.body)
			}
			event := s.must(http.StatusOK, "GET", "/v2/keys/a/file?wait=true&waitIndex="+first.header.Get("X-Etcd-Index"), "")
			if event.body != first.body {
				t.Errorf("history = %s, want %s", event.body, first.body)
			}
			s.must(http.StatusOK, "PUT", "/v2/keys/a/file?prevValue=%ff%00x", "value=2")
		})
	}
}

// withoutTimes drops what may differ: a restart moves deadlines by the time
// nobody led (R51).
func withoutTimes(body string) string {
	var kept []string
	for _, field := range strings.Split(body, ",") {
		if !strings.HasPrefix(field, `"expiration"`) && !strings.HasPrefix(field, `"ttl"`) {
			kept = append(kept, field)
		}
	}
	return strings.Join(kept, ",")
}

// TestFlagsThatEndAtOnce: flags that end at once, and their statuses (F3–F5, F41).
func TestFlagsThatEndAtOnce(t *testing.T) {
	parallel(t)
	cases := []struct {
		name   string
		args   []string
		status int
		out    string
	}{
		{"version", []string{"--version"}, 0, "etcd Version: 2.3.8\ncanopy Version: "},
		{"help", []string{"--help"}, 0, "--listen-client-urls"},
		{"one dash", []string{"-version"}, 0, "Go OS/Arch: "},
		{"unknown flag", []string{"--bogus"}, 2, "bogus"},
		{"not a number", []string{"--heartbeat-interval", "abc"}, 2, "heartbeat-interval"},
		{"a word too many", []string{"extra"}, 1, "extra"},
		{"advertise is required", []string{"--listen-client-urls", "http://127.0.0.1:1"}, 1, "advertise-client-urls is required"},
		{"check", []string{"--check-config"}, 0, "--listen-client-urls="},
		{"check finds what a start would", []string{"--check-config", "--initial-cluster", "a=http://localhost:2380,b=http://localhost:2381", "--name", "a"}, 1, "initial-cluster"},
		{"election too short", []string{"--heartbeat-interval", "300"}, 1, "should be at least as 5 times as"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command(binary, c.args...)
			command.Dir = t.TempDir()
			out, err := command.CombinedOutput()
			if status := command.ProcessState.ExitCode(); status != c.status {
				t.Errorf("canopy %v: exit status %d (%v), want %d\n%s", c.args, status, err, c.status, out)
			}
			if !strings.Contains(string(out), c.out) {
				t.Errorf("canopy %v: output lacks %q:\n%s", c.args, c.out, out)
			}
		})
	}
}

// TestForeignDirectoriesAreRefused: what another server made is left alone
// (B5, B64, B66, B70).
func TestForeignDirectoriesAreRefused(t *testing.T) {
	parallel(t)
	cases := []struct {
		name  string
		paths []string // a path that ends in / is a directory
		out   string
	}{
		{"0.4", []string{"conf", "log", "snapshot/"}, "0.4 data directory"},
		{"2.0", []string{"wal/", "snap/"}, "2.0 data directory"},
		{"v3", []string{"member/wal/", "member/snap/db"}, "v3"},
		{"2.3", []string{"member/wal/0000000000000000-0000000000000000.wal"}, "written by etcd"},
		{"member and proxy", []string{"member/", "proxy/"}, "both member and proxy"},
		{"a lost log", []string{"member/snap/0000000000000001-0000000000000005.snap"}, "--wal-dir"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			for _, path := range c.paths {
				makePath(t, filepath.Join(s.dir, path), strings.HasSuffix(path, "/"))
			}
			s.launch()
			if status := s.waitExit(); status != 1 {
				t.Errorf("exit status = %d, want 1", status)
			}
			if !strings.Contains(s.output.String(), c.out) {
				t.Errorf("output lacks %q:\n%s", c.out, s.output)
			}
		})
	}
}

// makePath makes a directory, or a file that begins as an etcd log does.
func makePath(t *testing.T, path string, dir bool) {
	t.Helper()
	parent := path
	if !dir {
		parent = filepath.Dir(path)
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	if !dir {
		if err := os.WriteFile(path, []byte("\x04\x00\x00\x00\x00\x00\x00\x84\x08\x04\x10\x00\x00\x00\x00\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeysExpireOnTime: at most a little after their deadline, also when
// nothing else is going on.
func TestKeysExpireOnTime(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	watch := openWatch(t, s, "/v2/keys/k?wait=true&waitIndex=0&stream=true")
	s.must(http.StatusCreated, "PUT", "/v2/keys/k", "value=1&ttl=1")
	begin := time.Now()
	scanner := bufio.NewScanner(watch.Body)
	for scanner.Scan() {
		if strings.HasPrefix(scanner.Text(), `{"action":"expire"`) {
			if late := time.Since(begin) - time.Second; *full && late > time.Second {
				t.Errorf("expired %v late", late)
			}
			return
		}
	}
	t.Fatalf("the watch ended: %v", scanner.Err())
}
