package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var (
	expirations = regexp.MustCompile(`,"expiration":"[^"]*"`)
	indexes     = regexp.MustCompile(`,?"(expiration|modifiedIndex|createdIndex)":("[^"]*"|[0-9]+)`)
)

// unindexed is a dump without what a mirror does not keep.
func unindexed(dump string) string {
	return strings.ReplaceAll(indexes.ReplaceAllString(dump, ""), "{,", "{")
}

// TestExportAndImport: what is exported is imported as it was, and exports of equal keys are equal bytes; modes, a dry run and
// another root (G61, G62; section 12, 7).
func TestExportAndImport(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	s := c.members[0]
	scribble(t, s, rand.New(rand.NewPCG(1, 2)), 200)
	s.must(http.StatusCreated, "PUT", "/v2/keys/raw", "value=%ff%00%fe")
	s.must(http.StatusCreated, "PUT", "/v2/keys/_hidden/k", "value=1")
	c.agree()
	other := newServer(t).start()
	export := func(s *server, args ...string) string {
		out, err := exec.Command(binary, append([]string{"ctl", "--endpoints", s.client, "--no-sync", "export"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	withoutTimes := func(text string) string {
		return expirations.ReplaceAllString(text[:strings.LastIndex(text, `{"end"`)], "")
	}
	first := export(s)
	if again := export(c.members[2]); again != first {
		t.Errorf("two members export\n%s\nand\n%s", first, again)
	}
	if strings.Contains(first, "_hidden") || !strings.Contains(first, `{"key":"/raw","base64":"/wD+"}`) {
		t.Errorf("the export is %s", first)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "keys")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(export(s, "--hidden"))
	load := func(s *server, args ...string) (int, string) {
		return ctl(t, append([]string{"--endpoints", s.client, "--no-sync", "import", file}, args...)...)
	}
	if status, out := load(other); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	if got, want := withoutTimes(export(other, "--hidden")), withoutTimes(export(s, "--hidden")); got != want {
		t.Errorf("the import has made\n%s\nof\n%s", got, want)
	}
	if status, out := load(other); status != 1 || !strings.Contains(out, "line 2: 105") {
		t.Errorf("again: exit status %d: %s", status, out)
	}
	if status, out := load(other, "--mode", "merge"); status != 0 || !strings.Contains(out, "0 written") {
		t.Errorf("merged: exit status %d: %s", status, out)
	}
	other.must(http.StatusOK, "PUT", "/v2/keys/raw", "value=changed")
	other.must(http.StatusCreated, "PUT", "/v2/keys/more/than", "value=that")
	if status, out := load(other, "--mode", "replace", "--dry-run"); status != 0 || !strings.Contains(out, "~ /raw\n") || !strings.Contains(out, "- /more\n") {
		t.Errorf("dry: exit status %d: %s", status, out)
	}
	if status, out := load(other, "--mode", "replace"); status != 0 {
		t.Errorf("replaced: exit status %d: %s", status, out)
	}
	if got, want := withoutTimes(export(other)), withoutTimes(first); got != want {
		t.Errorf("the import has replaced all by\n%s\nwant\n%s", got, want)
	}
	if status, out := load(other, "--to", "/below/here"); status != 0 {
		t.Errorf("moved: exit status %d: %s", status, out)
	}
	moved := strings.ReplaceAll(strings.ReplaceAll(withoutTimes(export(other, "/below/here")), "/below/here/", "/"), `"root":"/below/here"`, `"root":"/"`)
	if moved = strings.Replace(moved, `{"key":"/below/here","dir":true}`+"\n", "", 1); moved != withoutTimes(first) {
		t.Errorf("moved it is\n%s\nwant\n%s", moved, withoutTimes(first))
	}
	write(first[:len(first)-9])
	if status, out := load(newServer(t).start()); status != 1 {
		t.Errorf("a file that is cut: exit status %d: %s", status, out)
	}
}

// mirror runs canopy ctl mirror; the server that it gives is only a process.
func startMirror(t *testing.T, args ...string) *server {
	t.Helper()
	m := &server{t: t, name: "mirror", line: append([]string{binary, "ctl", "mirror", "--every", "100ms"}, args...)}
	m.launch()
	return m
}

// TestMirror follows an etcd while its keys change, over a restart of either side, until it is told to switch (G60).
func TestMirror(t *testing.T) {
	parallel(t)
	etcd := newEtcd(t).start()
	target := newServer(t).start()
	r := rand.New(rand.NewPCG(3, 4))
	scribble(t, etcd, r, 100)
	etcd.must(http.StatusCreated, "PUT", "/v2/keys/_meta/x", "value=hidden")
	m := startMirror(t, "--from", etcd.client, "--to", target.client, "--hidden", "/_meta")
	m.waitLine("now following")
	scribble(t, etcd, r, 100)
	target.signal(syscall.SIGTERM)
	scribble(t, etcd, r, 50)
	target.start()
	scribble(t, etcd, r, 50)
	etcd.signal(syscall.SIGTERM)
	etcd.start()
	scribble(t, etcd, r, 1200) // more than the history of etcd holds
	etcd.must(http.StatusOK, "PUT", "/v2/keys/_meta/x", "value=changed")
	etcd.must(http.StatusCreated, "PUT", "/v2/keys/last", "value=1")
	eventually(t, hang, "the mirror to have all", func() error {
		if a, err := target.do("GET", "/v2/keys/last", ""); err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%d %w", a.status, err)
		}
		if a, err := target.do("GET", "/v2/keys/_meta/x", ""); err != nil || !strings.Contains(a.body, "changed") {
			return fmt.Errorf("%s %w", a.body, err)
		}
		return nil
	})
	if status := m.signal(syscall.SIGTERM); status != 0 || !strings.Contains(m.output.String(), "ended: all changes up to index") {
		t.Errorf("exit status %d: %s", status, m.output)
	}
	want, got := unindexed(dump(t, etcd)), unindexed(dump(t, target))
	if got != want {
		t.Errorf("the mirror has\n%s\nwant\n%s", got, want)
	}
}

// TestMirrorToV3 leaves by way of a real etcd v3, whose etcdctl reads the same values (G60).
func TestMirrorToV3(t *testing.T) {
	parallel(t)
	if _, err := exec.LookPath("etcdctl"); err != nil {
		t.Skip("there is no etcdctl (etcd-client in Debian)")
	}
	etcd := newEtcd(t).start()
	s := newServer(t).start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/a/b", "value=bytes")
	s.must(http.StatusCreated, "PUT", "/v2/keys/a/ttl", "value=t&ttl=1000")
	s.must(http.StatusCreated, "PUT", "/v2/keys/gone/x", "value=1")
	m := startMirror(t, "--from", s.client, "--to-v3", etcd.client)
	m.waitLine("now following")
	s.must(http.StatusOK, "DELETE", "/v2/keys/gone?recursive=true", "")
	s.must(http.StatusOK, "PUT", "/v2/keys/a/b", "value=gr%C3%B6%C3%9Fe+%00changed")
	s.must(http.StatusCreated, "PUT", "/v2/keys/last", "value=1")
	get := func(args ...string) string {
		c := exec.Command("etcdctl", append([]string{"--endpoints", etcd.client}, args...)...)
		c.Env = append(os.Environ(), "ETCDCTL_API=3")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	want := "/a/b\ngröße \x00changed\n/a/ttl\nt\n/last\n1\n"
	eventually(t, hang, "etcd v3 to have all", func() error {
		if got := get("get", "/", "--prefix"); got != want {
			return fmt.Errorf("it has %q, want %q", got, want)
		}
		return nil
	})
	if leases := get("lease", "list"); !strings.Contains(leases, "found 1 leases") {
		t.Errorf("the leases are %s", leases)
	}
	if status := m.signal(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d: %s", status, m.output)
	}
	s.must(http.StatusOK, "DELETE", "/v2/keys/last", "")
	mustCtl(t, "mirror", "--from", s.client, "--to-v3", etcd.client, "--once", "--delete")
	if got := get("get", "/last"); got != "" {
		t.Errorf("after a run with --delete there is %q", got)
	}
}

// TestMirrorWithUsers copies between two clusters that both have users, each with a name of its own; a wrong password ends it
// (G60).
func TestMirrorWithUsers(t *testing.T) {
	parallel(t)
	guarded := func(password string) *server {
		s := newServer(t).start()
		s.postJSON("PUT", "/v2/auth/users/root", `{"user":"root","password":"`+password+`"}`)
		s.must(http.StatusCreated, "PUT", "/v2/keys/from-"+password, "value=1")
		s.postJSON("PUT", "/v2/auth/roles/guest", `{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}`)
		s.postJSON("PUT", "/v2/auth/enable", "")
		return s
	}
	from, to := guarded("one"), guarded("two")
	args := []string{"mirror", "--from", from.client, "--to", to.client, "--once", "--from-username", "root:one", "--to-username"}
	if status, out := ctl(t, append(args, "root:wrong")...); status == 0 || strings.Contains(out, "wrong") {
		t.Errorf("a wrong password: exit status %d: %s", status, out)
	}
	mustCtl(t, append(args, "root:two")...)
	out := mustCtl(t, "--endpoints", to.client, "--no-sync", "-u", "root:two", "get", "/from-one")
	if strings.TrimSpace(out) != "1" {
		t.Errorf("the key is %q", out)
	}
}
