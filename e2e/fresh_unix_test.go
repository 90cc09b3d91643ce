//go:build unix

package e2e

import (
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
)

// A member takes little of the disk until its store needs more: room for the
// log is reserved, in segments that grow.
func TestAFreshMemberTakesLittleOfTheDisk(t *testing.T) {
	t.Parallel()
	const most = 10 << 20
	s := newServer(t).start()
	s.must(http.StatusCreated, "PUT", "/v2/keys/first", "value=1")
	if got := diskBytes(t, s.dir); got > most {
		t.Errorf("a fresh member takes %d bytes of the disk, want at most %d", got, most)
	}
	s.kill()
	s.start()
	if got := diskBytes(t, s.dir); got > most {
		t.Errorf("after a restart it takes %d bytes", got)
	}
}

// diskBytes is what the files below dir take of the disk.
func diskBytes(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		var stat syscall.Stat_t
		if err == nil {
			err = syscall.Stat(path, &stat)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was renamed meanwhile
		}
		total += stat.Blocks * 512
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
