package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// smallDisk is a file system of its own, of the size given, in bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("canopy-test", dir, "tmpfs", 0, "mode=0700,size="+strconv.Itoa(size)); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// TestAFullDiskRefusesOnlyWrites (R8): while the disk is full writes get a
// clear 5xx, reads and deletes go on, a kill and a restart work, and writes
// come back by themselves when there is room.
func TestAFullDiskRefusesOnlyWrites(t *testing.T) {
	parallel(t)
	disk := smallDisk(t, 64<<20)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, "--wal-segment-bytes", "4194304", "--max-wals", "2", "--snapshot-count", "100000000")
	s.dir = filepath.Join(disk, "data")
	s.start()
	written := fill(s)
	t.Logf("refused after %d writes", written)
	s.must(http.StatusOK, "GET", "/v2/keys/fill/0", "")
	s.must(http.StatusOK, "DELETE", "/v2/keys/fill/0", "")
	s.kill()
	s.start()
	for i := 1; i < written; i++ {
		s.must(http.StatusOK, "GET", "/v2/keys/fill/"+strconv.Itoa(i), "")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, hang, "writes to come back", func() error {
		a, err := s.do("PUT", "/v2/keys/again", "value=1")
		if err != nil || a.status >= 300 {
			return fmt.Errorf("PUT = %d %s %v", a.status, a.body, err)
		}
		return nil
	})
}

// incompressible is a form that sets a value of so many bytes, which a snapshot cannot make small.
func incompressible(random *rand.PCG, bytes int) string {
	var b strings.Builder
	b.WriteString("value=")
	for b.Len() < bytes+6 {
		fmt.Fprintf(&b, "%016x", random.Uint64())
	}
	return b.String()[:bytes+6]
}

// fill writes until the disk is full, and counts the writes acknowledged.
func fill(s *server) int {
	s.t.Helper()
	random := rand.NewPCG(1, 1)
	for i := range 10_000 {
		a, err := s.do("PUT", "/v2/keys/fill/"+strconv.Itoa(i), incompressible(random, 32<<10))
		if err != nil {
			s.t.Fatalf("write %d: %v", i, err)
		}
		if a.status < 300 {
			continue
		}
		if a.status < 500 || !strings.Contains(a.body, "no space left") {
			s.t.Fatalf("write %d = %d %s, want a 5xx that says that the disk is full", i, a.status, a.body)
		}
		return i
	}
	s.t.Fatal("the disk was never full")
	return 0
}
