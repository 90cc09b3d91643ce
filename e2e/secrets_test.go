package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The secrets of these tests, one that is escaped and ones that should be.
const (
	goodSecret = "s3cr3t%21one"
	partSecret = "s3cr3t"
)

// shows fails if a text has a part of a secret.
func shows(t *testing.T, what, text string) {
	t.Helper()
	if at := strings.Index(text, partSecret); at >= 0 {
		t.Errorf("%s shows a secret: …%s", what, text[max(0, at-200):min(len(text), at+40)])
	}
}

// withSecrets is a member whose flags and variables hold secrets wherever one
// can be.
func withSecrets(t *testing.T) *server {
	s := newServer(t)
	s.start()
	s.kill()
	s.cluster = ""
	in := func(url string) string { return strings.Replace(url, "://", "://me:"+goodSecret+"@", 1) }
	s.flags = []string{"--discovery", in("http://127.0.0.1:1/v2/keys/tok"), "--enable-pprof", "--access-log", "--log-level", "debug",
		"--advertise-client-urls", in(s.client), "--initial-advertise-peer-urls", in(s.peer), "--listen-client-urls", in(s.client)}
	s.environ = []string{"ETCD_DISCOVERY_PROXY=me:" + goodSecret + "@127.0.0.1:1", "ETCD_ROOT_PASSWORD=" + goodSecret}
	return s.start()
}

// TestNoSecretIsShown: passwords of URLs are in no log, metric or page, nor in
// what a crash leaves.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	s := withSecrets(t)
	for _, path := range []string{"/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/metrics", "/health", "/config/local/log", "/v2/stats/self", "/v2/stats/store", "/version", "/v2/keys/none"} {
		a, err := s.do(http.MethodGet, path, "")
		if err != nil || a.status == http.StatusServiceUnavailable {
			t.Fatalf("%s: %d %s, %v", path, a.status, a.body, err)
		}
		shows(t, path, a.body)
	}
	if status := s.signal(syscall.SIGQUIT); status != 2 || !strings.Contains(s.output.String(), "goroutine ") {
		t.Errorf("SIGQUIT ends it with %d", status)
	}
	shows(t, "the output", s.output.String())
}

// TestNoSecretIsShownByRefusals: neither do the messages about wrong values.
func TestNoSecretIsShownByRefusals(t *testing.T) {
	t.Parallel()
	var lines [][]string
	for _, url := range []string{"http://me:s3cr3t@h:x/y", "http://me:s3cr3t/p@h/y", "http://me:s3cr3t p@h/y", "ftp://me:s3cr3t@h/y", "http://me:s3cr3t,p@h:1",
		"http://s3cr3t@h/y", "me:s3cr3t@h:x", "http://me:s3cr3t%zz@h/y", "http://me:1s3cr3t@h:99999"} {
		for _, flag := range []string{"discovery", "discovery-proxy", "listen-client-urls", "advertise-client-urls", "initial-advertise-peer-urls", "listen-metrics-urls"} {
			lines = append(lines, []string{"--" + flag, url})
		}
		lines = append(lines, []string{"--initial-cluster", "default=" + url}, []string{"--discovery", url, "--discovery-srv", "a"},
			[]string{"--discovery", url, "--initial-cluster-state", "existing"}, []string{"--cors", url},
			[]string{"discovery", "--endpoints", url}, []string{"discovery", "--host", url})
	}
	for _, line := range lines {
		args := line
		if line[0] != "discovery" {
			args = append([]string{"--check-config", "--data-dir", t.TempDir()}, line...)
		} else {
			args = append(args, "--addr", "nowhere") // is refused, whatever the rest is
		}
		out, _ := runBriefly(t, args...)
		shows(t, strings.Join(line, " "), out)
	}
}

// runBriefly runs the program until it ends, which it must within a minute.
func runBriefly(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, args...)
	command.Env = append(os.Environ(), "DISC_TOKEN="+goodSecret)
	command.WaitDelay = time.Minute
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestNoSecretIsShownWhileDiscovering: nor what is logged of a service that
// cannot be reached.
func TestNoSecretIsShownWhileDiscovering(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"off", "on"} {
		s := newServer(t, "--proxy", proxy, "--discovery", "http://me:"+goodSecret+"@127.0.0.1:1/v2/keys/tok", "--discovery-proxy", "http://me:"+goodSecret+"@127.0.0.1:1")
		s.cluster = ""
		s.launch()
		eventually(t, time.Minute, "the process to try", func() error {
			if !strings.Contains(s.output.String(), "retrying in") {
				return errors.New("it does not")
			}
			return nil
		})
		s.kill()
		shows(t, "a process that waits, --proxy="+proxy, s.output.String())
	}
}
