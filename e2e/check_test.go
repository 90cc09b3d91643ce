package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkConfig runs the program with --check-config.
func checkConfig(t *testing.T, environ []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	command := exec.Command(binary, args...)
	command.Env = environ
	var out, errs strings.Builder
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

// --check-config warns of what is odd, refuses what a start would, and leaves nothing behind; its quiet form says nothing else.
func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args, environ string
		status        int
		says          string // "": nothing
	}{
		{"--data-dir=DIR/data", "", 0, ""},
		{"--data-dir=DIR/a/b/c", "ETCD_INITIAL_CLUSTERS=x", 0, "warning: unrecognized environment variable ETCD_INITIAL_CLUSTERS; is ETCD_INITIAL_CLUSTER meant?\n"},
		{"--data-dir=/proc/x", "", 1, "--data-dir=/proc/x cannot be used: "},
		{"--data-dir=/dev/null", "", 1, "--data-dir=/dev/null cannot be used: /dev/null is not a directory"},
		{"--data-dir=DIR/data --wal-dir=/proc/x", "", 1, "--wal-dir=/proc/x cannot be used: "},
		{"--data-dir=DIR/data --initial-cluster=m1=http://h:1", "", 1, "couldn't find local name"},
		{"--data-dir=DIR/data --proxy=on --wal-dir=/proc/x --initial-cluster=x", "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://:2380", 1, "error setting up initial cluster: \"x\" is not name=URL"},
	} {
		args := strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))
		_, said, status := checkConfig(t, strings.Fields(tt.environ), append(args, "--check-config")...)
		if status != tt.status || !strings.Contains(said, tt.says) || tt.says == "" && said != "" {
			t.Errorf("--check-config %s %s: status %d, %q, want %d, %q", tt.args, tt.environ, status, said, tt.status, tt.says)
		}
		if out, _, quiet := checkConfig(t, strings.Fields(tt.environ), append(args, "--check-config=quiet")...); out != "" || quiet != tt.status {
			t.Errorf("--check-config=quiet %s: status %d, %q", tt.args, quiet, out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
}

// Variables of another kind of process stop none: a proxy and a restarted member ignore peer URLs that nobody could use.
func TestVariablesWithoutEffectStopNoStart(t *testing.T) {
	peers := "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://:2380"
	s := newServer(t)
	s.start()
	s.kill()
	s.line = []string{binary, "--data-dir", s.dir, "--listen-client-urls", s.client, "--advertise-client-urls", s.client, "--listen-peer-urls", s.peer}
	s.environ = []string{peers}
	s.start()
	s.waitLine("is ignored, since it has no effect on a member that has data: ")
	proxy := newServer(t)
	proxy.line = []string{binary, "--proxy", "on", "--data-dir", proxy.dir, "--listen-client-urls", proxy.client, "--initial-cluster", "any=" + s.peer}
	proxy.environ = []string{peers, "ETCD_ADVERTISE_CLIENT_URLS=http://:2379,http://:4001"}
	proxy.launch()
	proxy.awaitEndpoints(1)
	proxy.waitLine("is ignored, since it has no effect on a proxy: ")
}

// A name that container links set is no reason to refuse a start, and its directory stays where it is looked for.
func TestANameWithSlashes(t *testing.T) {
	s := newServer(t)
	s.line = []string{"/bin/sh", "-c", `cd "$0" && exec "$@"`, t.TempDir(), binary, "--listen-client-urls", s.client, "--advertise-client-urls", s.client,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer, "--initial-cluster", "/etcd2/etcd=" + s.peer}
	s.environ = []string{"ETCD_NAME=/etcd2/etcd"}
	s.start()
	s.waitLine("using default data-dir ./%2Fetcd2%2Fetcd.etcd")
	if _, err := os.Stat(filepath.Join(s.line[3], "%2Fetcd2%2Fetcd.etcd", "member")); err != nil {
		t.Error(err)
	}
}
