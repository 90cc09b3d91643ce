package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var reportIndex = regexp.MustCompile(`(?m)^index: +([0-9]+),`)

// TestLiveBackup makes backups of a cluster under load, from each member: each verifies, holds all that was acknowledged before
// it was asked for, and is the state of one index: restored, it has each write up to there and none behind it (G59; section 12, 7).
func TestLiveBackup(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	var done atomic.Int64 // key n was written with index first+n
	first := int64(0)
	if a := c.members[0].must(http.StatusCreated, "PUT", "/v2/keys/n/0", "value=0"); true {
		index, err := strconv.ParseInt(a.header.Get("X-Etcd-Index"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = index
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			if a, err := c.members[0].do("PUT", fmt.Sprintf("/v2/keys/n/%d", n), fmt.Sprintf("value=%d", n)); err != nil || a.status != http.StatusCreated {
				t.Errorf("write %d: %d %v", n, a.status, err)
				return
			}
			done.Store(n)
		}
	})
	dir := t.TempDir()
	var files []string
	for i, s := range c.members {
		eventually(t, hang, "more writes", func() error {
			if done.Load() < int64(100*(i+1)) {
				return errTooFew
			}
			return nil
		})
		least := done.Load()
		file := filepath.Join(dir, s.name)
		out := mustCtl(t, "--endpoints", s.client, "--no-sync", "backup", file)
		m := reportIndex.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("the report has no index: %s", out)
		}
		if index, err := strconv.ParseInt(m[1], 10, 64); err != nil || index < first+least {
			t.Errorf("the backup has index %s, and %d writes up to %d were acknowledged before", m[1], least, first+least)
		}
		files = append(files, file)
	}
	stop()
	writer.Wait()
	restored := restoreCluster(t, files[1], 1).members[0]
	a := restored.must(http.StatusOK, "GET", "/v2/keys/n", "")
	count := int64(strings.Count(a.body, `"createdIndex"`)) - 1
	out := mustCtl(t, "verify", files[1])
	if want := reportIndex.FindStringSubmatch(out)[1]; want != strconv.FormatInt(first+count-1, 10) {
		t.Errorf("the backup of index %s has %d keys, the first one of index %d", want, count, first)
	}
	if last := fmt.Sprintf("/v2/keys/n/%d", count-1); !strings.Contains(restored.must(http.StatusOK, "GET", last, "").body, fmt.Sprintf(`"value":"%d"`, count-1)) {
		t.Errorf("%s has another value", last)
	}
	if _, err := os.Stat(files[0] + ".tmp"); err == nil {
		t.Error("a temporary file is left")
	}
}

// TestBackupNeedsRoot: with users, nobody else gets all keys, nor hashes of passwords (G59).
func TestBackupNeedsRoot(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/a", "value=1")
	s.postJSON("PUT", "/v2/auth/users/root", `{"user":"root","password":"pw"}`)
	s.postJSON("PUT", "/v2/auth/users/bob", `{"user":"bob","password":"pw"}`)
	s.postJSON("PUT", "/v2/auth/enable", "")
	file := filepath.Join(t.TempDir(), "f")
	for _, login := range [][]string{nil, {"-u", "bob:pw"}, {"-u", "root:wrong"}} {
		args := append(append([]string{"--endpoints", s.client, "--no-sync"}, login...), "backup", file)
		if status, out := ctl(t, args...); status != 1 {
			t.Errorf("%v: exit status %d: %s", login, status, out)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%v: there is a file", login)
		}
	}
	out := mustCtl(t, "--endpoints", s.client, "--no-sync", "-u", "root:pw", "backup", file)
	if !strings.Contains(out, "2 users") || !strings.Contains(out, "checks are on") {
		t.Error(out)
	}
	restored := restoreCluster(t, file, 1).members[0]
	restored.must(http.StatusUnauthorized, "GET", "/v2/auth/users/bob", "")
}
