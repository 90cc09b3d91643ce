package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newEtcd is a real etcd that serves the v2 API.
func newEtcd(t *testing.T, flags ...string) *server {
	t.Helper()
	s := newServer(t, flags...)
	s.beEtcd()
	return s
}

// ctl runs canopy ctl.
func ctl(t *testing.T, args ...string) (status int, output string) {
	t.Helper()
	c := exec.Command(binary, append([]string{"ctl"}, args...)...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), string(out)
}

func mustCtl(t *testing.T, args ...string) string {
	t.Helper()
	status, out := ctl(t, args...)
	if status != 0 {
		t.Fatalf("canopy ctl %s: exit status %d: %s", strings.Join(args, " "), status, out)
	}
	return out
}

// scribble makes random changes.
func scribble(t *testing.T, s *server, r *rand.Rand, count int) {
	t.Helper()
	key := func() string { return fmt.Sprintf("/v2/keys/d%d/k%d", r.IntN(4), r.IntN(6)) }
	for range count {
		value := url.Values{"value": {fmt.Sprintf("v%d \xff<é>", r.IntN(3))}}
		var method, path string
		switch path = key(); r.IntN(9) {
		case 0, 1:
			method = "PUT"
		case 2:
			method = "PUT"
			value.Set("ttl", fmt.Sprint([]int{1000, 100000}[r.IntN(2)]))
		case 3:
			method, path = "POST", fmt.Sprintf("/v2/keys/q%d", r.IntN(2))
		case 4:
			method = "DELETE"
		case 5:
			method = "PUT"
			value.Set("prevExist", []string{"true", "false"}[r.IntN(2)])
		case 6:
			method = "PUT"
			value.Set("prevValue", fmt.Sprintf("v%d \xff<é>", r.IntN(3)))
		case 7:
			method, path = "DELETE", fmt.Sprintf("/v2/keys/d%d?recursive=true", r.IntN(4))
		case 8:
			method, value = "PUT", url.Values{"dir": {"true"}}
		}
		if _, err := s.do(method, path, value.Encode()); err != nil {
			t.Fatal(err)
		}
	}
}

var ttlLeft = regexp.MustCompile(`"ttl":\d+,`)

// dump is all keys as a server shows them, without what is left of TTLs.
func dump(t *testing.T, s *server) string {
	t.Helper()
	a := s.must(http.StatusOK, "GET", "/v2/keys/?recursive=true&sorted=true&quorum=true", "")
	var all any // servers differ in escapes
	if err := json.Unmarshal([]byte(ttlLeft.ReplaceAllString(a.body, "")), &all); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTheWayFromEtcd goes the way of a new user: a real etcd with data is stopped, import-dir reads its directory, restore writes
// those of three members, and these serve the same keys, with their indexes; a watch goes on from an old index (G1–G56; section
// 12, 1 and 5).
func TestTheWayFromEtcd(t *testing.T) {
	parallel(t)
	for round := range *rounds {
		t.Run(fmt.Sprint("round ", round+1), theWayFromEtcd)
	}
}

func theWayFromEtcd(t *testing.T) {
	for name, c := range map[string]struct {
		signal syscall.Signal
		flags  []string
	}{
		"SIGTERM, no snapshot":     {syscall.SIGTERM, nil},
		"kill -9, no snapshot":     {syscall.SIGKILL, nil},
		"SIGTERM, a few snapshots": {syscall.SIGTERM, []string{"--snapshot-count", "50"}},
		"kill -9, many snapshots":  {syscall.SIGKILL, []string{"--snapshot-count", "10"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := newEtcd(t, c.flags...).start()
			from := *seed
			if from == 0 {
				from = rand.Uint64()
			}
			t.Logf("-seed=%d", from)
			scribble(t, etcd, rand.New(rand.NewPCG(from, 1)), 300)
			etcd.must(http.StatusCreated, "PUT", "/v2/keys/gone", "value=1&ttl=1")
			eventually(t, hang, "a key to expire", func() error {
				if a, err := etcd.do("GET", "/v2/keys/gone", ""); err != nil || a.status != http.StatusNotFound {
					return fmt.Errorf("%d %w", a.status, err)
				}
				return nil
			})
			last := etcd.must(http.StatusCreated, "PUT", "/v2/keys/last", "value=of+all")
			file := filepath.Join(t.TempDir(), "keys.canopy")
			if status, out := ctl(t, "import-dir", "--data-dir", etcd.dir, "--out", file); status != 1 || !strings.Contains(out, "etcd is running on") {
				t.Fatalf("a running etcd: exit status %d: %s", status, out)
			}
			want := dump(t, etcd)
			etcd.signal(c.signal)

			refuse := newServer(t)
			refuse.dir = etcd.dir
			refuse.launch()
			if status := refuse.waitExit(); status != 1 || !strings.Contains(refuse.output.String(), "canopy ctl import-dir --data-dir "+etcd.dir) {
				t.Errorf("a member on the directory of etcd: exit status %d: %s", status, refuse.output)
			}
			mustCtl(t, "import-dir", "--data-dir", etcd.dir, "--out", file, "--ttl", "absolute")
			members := restoreCluster(t, file, 3)
			for _, s := range members.members {
				if got := dump(t, s); got != want {
					t.Errorf("%s serves\n%s\nwant\n%s", s.name, got, want)
				}
			}
			var event struct {
				Node struct{ ModifiedIndex uint64 }
			}
			if err := json.Unmarshal([]byte(last.body), &event); err != nil {
				t.Fatal(err)
			}
			s := members.members[0]
			a := s.must(http.StatusOK, "GET", fmt.Sprintf("/v2/keys/last?wait=true&waitIndex=%d", event.Node.ModifiedIndex), "")
			if a.body != strings.TrimSpace(last.body)+"\n" {
				t.Errorf("the event of an old index is %s, want %s", a.body, last.body)
			}
			s.must(http.StatusCreated, "PUT", "/v2/keys/new", "value=1")
			if got := members.members[2].must(http.StatusOK, "GET", "/v2/keys/new?quorum=true", ""); !strings.Contains(got.body, `"value":"1"`) {
				t.Error(got.body)
			}
		})
	}
}

// restoreCluster restores a file to so many members, and starts them.
func restoreCluster(t *testing.T, file string, size int, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var list []string
	for n := range size {
		s := newServer(t, flags...)
		s.name = fmt.Sprintf("m%d", n+1)
		c.members = append(c.members, s)
		list = append(list, s.name+"="+s.peer)
	}
	for _, s := range c.members {
		s.cluster = strings.Join(list, ",")
		mustCtl(t, "restore", file, "--name", s.name, "--data-dir", s.dir, "--initial-cluster", s.cluster)
		s.launch()
	}
	c.waitServing()
	return c
}

// TestRestoreRefuses: a restore never touches what is there (G51).
func TestRestoreRefuses(t *testing.T) {
	parallel(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "keys.canopy")
	state := `{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{` +
		`"a":{"Path":"/a","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"b","Children":null}}},"CurrentIndex":1}`
	if err := os.WriteFile(filepath.Join(dir, "state"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	mustCtl(t, "import-dir", "--data-dir", filepath.Join(dir, "state"), "--out", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v: %v", info.Mode(), err)
	}
	s := newServer(t).start()
	damaged := filepath.Join(dir, "damaged")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(damaged, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged+"-cut", b[:len(b)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	const cluster = "m1=http://127.0.0.1:1,m2=http://127.0.0.1:2"
	for _, c := range []struct {
		says string
		args []string
	}{
		{"is not empty", []string{file, "--name", s.name, "--data-dir", s.dir, "--initial-cluster", s.cluster}},
		{"checksum is wrong", []string{damaged, "--name", "m1", "--data-dir", filepath.Join(dir, "d"), "--initial-cluster", cluster}},
		{"checksum is wrong", []string{damaged + "-cut", "--name", "m1", "--data-dir", filepath.Join(dir, "d"), "--initial-cluster", cluster}},
		{`couldn't find local name "m3"`, []string{file, "--name", "m3", "--data-dir", filepath.Join(dir, "d"), "--initial-cluster", cluster}},
		{"initial-advertise-peer-urls", []string{file, "--name", "m1", "--data-dir", filepath.Join(dir, "d"), "--initial-cluster", cluster, "--initial-advertise-peer-urls", "http://127.0.0.1:9"}},
		{"are needed", []string{file, "--name", "m1"}},
		{"accepts 1 arg", nil},
	} {
		if status, out := ctl(t, append([]string{"restore"}, c.args...)...); status != 1 || !strings.Contains(out, c.says) {
			t.Errorf("restore %v: exit status %d, %s; want it to say %q", c.args, status, out, c.says)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "d")); !os.IsNotExist(err) {
		t.Errorf("a restore that was refused has left a directory: %v", err)
	}
}

// TestARestoredClusterIsOneAsEver runs the recorded conversations against members that were restored.
func TestARestoredClusterIsOneAsEver(t *testing.T) {
	parallel(t)
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	dir := t.TempDir()
	state := `{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{` +
		`"_x":{"Path":"/_x","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"b","Children":null}}},"CurrentIndex":1}`
	if err := os.WriteFile(filepath.Join(dir, "state"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "keys.canopy")
	mustCtl(t, "import-dir", "--data-dir", filepath.Join(dir, "state"), "--out", file)
	scenarios, _ := servedScenarios(t, leftOut)
	runSuite(t, restoreCluster(t, file, 1, "--history-events", "1000").members[0], scenarios)
}

// TestTimeStoodStill: a key of which an hour was left when its server was stopped has an hour left in the new cluster; with
// --ttl absolute its time is past, and it goes with an event (G54).
func TestTimeStoodStill(t *testing.T) {
	parallel(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "state")
	state := `{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{` +
		`"k":{"Path":"/k","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"2020-01-01T01:00:00Z","Value":"b","Children":null}}},"CurrentIndex":1}`
	if err := os.WriteFile(source, []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	stopped := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(source, stopped, stopped); err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []string{"remaining", "absolute"} {
		file := filepath.Join(dir, ttl)
		mustCtl(t, "import-dir", "--data-dir", source, "--out", file, "--ttl", ttl)
		s := restoreCluster(t, file, 1).members[0]
		if ttl == "absolute" {
			a := s.must(http.StatusOK, "GET", "/v2/keys/k?wait=true&waitIndex=2", "")
			if !strings.Contains(a.body, `"action":"expire"`) {
				t.Errorf("the event is %s", a.body)
			}
			continue
		}
		var got struct{ Node struct{ TTL int } }
		if err := json.Unmarshal([]byte(s.must(http.StatusOK, "GET", "/v2/keys/k", "").body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Node.TTL < 3000 || got.Node.TTL > 3600 {
			t.Errorf("%d seconds are left, want an hour", got.Node.TTL)
		}
	}
}
