package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFiles sets how many descriptors a running server may have.
func (s *server) limitFiles(most uint64) {
	s.t.Helper()
	if err := unix.Prlimit(s.command.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: 20000}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// openFiles is the number of the lowest descriptor that a server has not in use.
func (s *server) openFiles() uint64 {
	s.t.Helper()
	free := uint64(0)
	for {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", s.command.Process.Pid, free)); err != nil {
			return free
		}
		free++
	}
}

// TestAMemberOutlivesAWantOfDescriptors: when the log and the snapshots get no
// descriptor, they wait for one, and nothing that was acknowledged is lost.
func TestAMemberOutlivesAWantOfDescriptors(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--snapshot-count", "50", "--wal-segment-bytes", "64KiB")
	s.start()
	writer := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer writer.CloseIdleConnections()
	write := func(n int) error {
		a, err := send(writer, "PUT", s.client+"/v2/keys/a", fmt.Sprintf("value=%d-%s", n, strings.Repeat("x", 2<<10)))
		if err == nil && a.status > http.StatusCreated {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	s.limitFiles(s.openFiles())
	done := make(chan error, 1)
	go func() {
		for n := range 200 {
			if err := write(n); err != nil {
				done <- fmt.Errorf("write %d: %w", n, err)
				return
			}
		}
		done <- nil
	}()
	eventually(t, time.Minute, "the server to warn", func() error {
		if !strings.Contains(s.output.String(), "lacks file descriptors") {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	s.limitFiles(20000)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "a snapshot", func() error {
		found, err := filepath.Glob(filepath.Join(s.dir, "member/snap/*.snap"))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	s.kill()
	s.start()
	if a := s.must(http.StatusOK, "GET", "/v2/keys/a", ""); !strings.Contains(a.body, `"value":"199-`) {
		t.Errorf("after a restart: %.60s", a.body)
	}
}
