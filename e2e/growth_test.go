package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Keys that are written over and over do not let disks grow, on any member (R33).
func TestDisksDoNotGrow(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3, "--snapshot-count", "200", "--max-snapshots", "2", "--max-wals", "2", "--wal-segment-bytes", "1MiB", "--history-events", "10")
	const writes, live, most = 6_000, 10, 20 << 20
	value := strings.Repeat("x", 10<<10)
	link := &http.Client{Transport: &http.Transport{}}
	defer link.CloseIdleConnections()
	for n := range writes * *rounds {
		a, err := send(link, http.MethodPut, fmt.Sprintf("%s/v2/keys/%d", c.members[n%3].client, n%live), "value="+value)
		if err != nil || a.status > http.StatusCreated {
			t.Fatalf("write %d: %d %v", n, a.status, err)
		}
	}
	c.agree()
	for _, s := range c.members {
		size := diskUse(t, s.dir)
		t.Logf("%s takes %d kB, of %d written and %d live", s.name, size>>10, writes**rounds*10, live*10)
		if size > most {
			t.Errorf("%s takes %d bytes, want at most %d", s.name, size, most)
		}
	}
}

// diskUse is the size of all files below a directory, in bytes.
func diskUse(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return nil // a file may be deleted meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
