package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// A start needs at most one and a half times the memory that the member needed before it, whatever the log holds: here
// values that take six times their length as JSON, and twice that in an event, behind the last snapshot.
func TestAStartNeedsNoMoreMemoryThanTheLifeBefore(t *testing.T) {
	parallel(t)
	const history = "8MiB"
	for _, value := range []string{"%01", "x"} {
		t.Run(value, func(t *testing.T) {
			s := newServer(t, "--history-bytes", history).start()
			body := "value=" + strings.Repeat(value, 512<<10)
			for range 60 * *rounds {
				if a, err := s.do(http.MethodPut, "/v2/keys/large", body); err != nil || a.status > http.StatusCreated {
					t.Fatalf("a write: %d %v", a.status, err)
				}
			}
			before := s.peakBytes()
			s.kill()
			s.start()
			after := s.peakBytes()
			t.Logf("%d MiB before, %d MiB at the start", before>>20, after>>20)
			if after > before*3/2 {
				t.Errorf("the start took %d MiB, and the member %d MiB before", after>>20, before>>20)
			}
		})
	}
}

// peakBytes is the most memory that the server had at any time.
func (s *server) peakBytes() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		s.t.Fatalf("no VmHWM in the process's status: %v", err)
	}
	return kib << 10
}
