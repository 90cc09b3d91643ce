package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestALiveCopyIsWholeOrRefused: a copy of the directory of a running server,
// made with the system's cp under load, holds at least what had been
// acknowledged when the copy began, and nothing that was never written. A copy
// that has caught a later part of the log without an earlier one is refused
// (R4).
func TestALiveCopyIsWholeOrRefused(t *testing.T) {
	parallel(t)
	s := newServer(t, "--max-wals", "0", "--max-snapshots", "0", "--snapshot-count", "500", "--wal-segment-bytes", "262144").start()
	var written atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n := strconv.FormatInt(written.Load()+1, 10)
			if a, err := s.do("PUT", "/v2/keys/n", "value="+n); err != nil || a.status >= 300 {
				t.Errorf("write %s: %d %v", n, a.status, err)
				return
			}
			written.Add(1)
		}
	}()
	for i := range 5 {
		eventually(t, hang, "more writes", func() error {
			if written.Load() < int64(400*(i+1)) {
				return errTooFew
			}
			return nil
		})
		checkCopy(t, s, &written)
	}
	close(stop)
	<-stopped
}

// health waits until the server serves, or has ended.
func (s *server) health() error {
	var err error
	for begin := time.Now(); time.Since(begin) < hang; {
		var a answer
		if a, err = s.do("GET", "/health", ""); err == nil && a.status == http.StatusOK {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("the server ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
	return err
}

const errTooFew = errorText("too few writes so far")

type errorText string

func (e errorText) Error() string { return string(e) }

func checkCopy(t *testing.T, s *server, written *atomic.Int64) {
	t.Helper()
	least := written.Load()
	copied := newServer(t)
	if out, err := exec.Command("cp", "-r", s.dir, copied.dir).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v\n%s", err, out)
	}
	most := written.Load() + 1
	copied.launch()
	if err := copied.health(); err != nil {
		if code, out := copied.waitExit(), copied.output.String(); code != 1 || !strings.Contains(out, "damaged at offset") && !strings.Contains(out, "those between are missing") {
			t.Errorf("the copy does not start: %v\n%s", err, out)
		}
		return
	}
	n := nodeOf(t, copied.must(http.StatusOK, "GET", "/v2/keys/n", ""))
	got, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || got < least || got > most {
		t.Errorf("the copy in %s holds %q (%v), want %d to %d", filepath.Base(copied.dir), n.Value, err, least, most)
	}
	copied.kill()
}
