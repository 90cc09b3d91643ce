package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// throttle limits what reaches a host; the rate is in tc's words.
func (h *hosts) throttle(host int, rate string) {
	h.t.Helper()
	out, err := exec.Command("tc", "qdisc", "replace", "dev", h.port(host), "root", "tbf", "rate", rate, "burst", "16kb", "latency", "300ms").CombinedOutput()
	if err != nil {
		h.t.Fatalf("throttle %s to %s: %v: %s", h.port(host), rate, err, out)
	}
}

// disturb delays what reaches a host by 20 ms, give or take 10, and loses one
// packet in fifty. It is false, with the reason in the log, where the kernel has
// no netem.
func (h *hosts) disturb(host int) bool {
	h.t.Helper()
	out, err := exec.Command("tc", "qdisc", "replace", "dev", h.port(host), "root", "netem", "delay", "20ms", "10ms", "loss", "2%").CombinedOutput()
	if err != nil {
		h.t.Logf("no delay and loss, since the kernel has no netem: %s", strings.TrimSpace(string(out)))
	}
	return err == nil
}

// A member comes back over a slow link and needs a snapshot. While it crawls,
// the leader is as fast as before (R26); with some more speed it arrives while
// writes go on, and one is enough (R27); and so it does when that happens again
// at once (R28).
func TestASnapshotOverASlowLink(t *testing.T) {
	parallel(t)
	c, h := newClusterOn(t, 3, "--snapshot-count", "200", "--history-events", "100")
	leader := c.leader()
	slow := c.others(leader)[0]
	leader.must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=1")
	before := slowWrite(leader)
	for round := range 1 + *rounds {
		h.cut(c.at(slow))
		outgrowTheLog(leader)
		if round == 0 {
			h.throttle(c.at(slow), "80kbit")
		} else {
			h.throttle(c.at(slow), "50mbit")
		}
		h.heal(c.at(slow))
		if round == 0 {
			<-time.After(2 * time.Second)
			during := slowWrite(leader)
			t.Logf("the 99th percentile of writes was %v, and is %v beside a snapshot", before, during)
			if *full && during > 2*before+10*time.Millisecond {
				t.Errorf("the 99th percentile of writes was %v, and is %v beside a snapshot", before, during)
			}
			if n := slow.metric("canopy_snapshots_installed_total"); n != 0 {
				t.Errorf("%v snapshots arrived over a link that is too slow for one", n)
			}
			h.throttle(c.at(slow), "50mbit")
		}
		began := time.Now()
		load := startLoad(t, c.others(slow))
		leader.must(http.StatusCreated, http.MethodPut, fmt.Sprintf("/v2/keys/mark%d", round), "value=1")
		eventually(t, hang, "it to catch up", func() error {
			a, err := send(quick, http.MethodGet, fmt.Sprintf("%s/v2/keys/mark%d", slow.client, round), "")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%d", a.status)
			}
			return err
		})
		t.Logf("it caught up in %v", time.Since(began))
		if failed := load.stop(); failed > 0 {
			t.Errorf("%d writes failed", failed)
		}
		if n := slow.metric("canopy_snapshots_installed_total"); n != float64(round+1) {
			t.Errorf("%v snapshots were installed, want %d", n, round+1)
		}
	}
	c.agree()
}

// outgrowTheLog writes 72 MB, more than a leader keeps of its log in memory, to
// a state of some 20 MB that hardly compresses.
func outgrowTheLog(leader *server) {
	leader.t.Helper()
	var writers errgroup.Group
	for w := range 8 {
		writers.Go(func() error {
			value, rng := make([]byte, 36<<10), rand.NewChaCha8([32]byte{byte(w)})
			for n := range 190 {
				rng.Read(value)
				path := fmt.Sprintf("/v2/keys/bulk/%d-%d", w, n%50)
				a, err := leader.do(http.MethodPut, path, "value="+base64.RawURLEncoding.EncodeToString(value))
				if err != nil || a.status > http.StatusCreated {
					return fmt.Errorf("write %s: %d %v", path, a.status, err)
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		leader.t.Fatal(err)
	}
}

// metric is the sum of a metric over its labels; 0 if there is none.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	sum := 0.0
	for line := range strings.Lines(s.must(http.StatusOK, http.MethodGet, "/metrics", "").body) {
		label, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var n float64
		if base, _, _ := strings.Cut(label, "{"); base != name {
			continue
		}
		if _, err := fmt.Sscan(value, &n); err != nil {
			s.t.Fatalf("metric %q: %v", line, err)
		}
		sum += n
	}
	return sum
}
