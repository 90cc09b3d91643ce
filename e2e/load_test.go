package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load writes to a cluster until it is stopped, and remembers what was
// acknowledged. Each writer has keys of its own, and counts in them.
type load struct {
	t       *testing.T
	targets atomic.Pointer[[]*server]
	end     chan struct{}
	writers sync.WaitGroup

	mu     sync.Mutex // guards what is below
	acked  map[string]int
	failed int // requests whose outcome is unknown, or that were refused
	lasts  []error
}

// Writers pause between their writes, to leave the processors to what is tested;
// at full scale they do not.
const loadWriters = 8

func startLoad(t *testing.T, targets []*server) *load {
	l := &load{t: t, end: make(chan struct{}), acked: map[string]int{}}
	l.use(targets)
	for w := range loadWriters {
		l.writers.Go(func() { l.write(w) })
	}
	return l
}

// use says which members are written to from now on.
func (l *load) use(targets []*server) { l.targets.Store(&targets) }

func (l *load) write(writer int) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	key := fmt.Sprintf("/load/w%d", writer)
	var known *[]*server
	var targets []*server // those of known whose port is not closed
	for n := 1; ; n++ {
		select {
		case <-l.end:
			return
		case <-time.After(scale(5*time.Millisecond, 0)):
		}
		if now := l.targets.Load(); now != known || len(targets) == 0 {
			known, targets = now, slices.Clone(*now)
		}
		at := n % len(targets)
		a, err := send(client, http.MethodPut, targets[at].client+"/v2/keys"+key, fmt.Sprintf("value=%d", n))
		if errors.Is(err, syscall.ECONNREFUSED) {
			targets = slices.Delete(targets, at, at+1)
		}
		l.mu.Lock()
		switch {
		case err == nil && a.status <= http.StatusCreated:
			l.acked[key] = n
		default:
			if err == nil {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			l.failed++
			l.lasts = append(l.lasts, err)
		}
		l.mu.Unlock()
	}
}

// stop ends the writers, and gives the requests that were not acknowledged.
func (l *load) stop() int {
	close(l.end)
	l.writers.Wait()
	total := 0
	for _, n := range l.acked {
		total += n
	}
	l.t.Logf("%d writes acknowledged, %d not", total, l.failed)
	for _, err := range l.lasts[:min(5, len(l.lasts))] {
		l.t.Logf("not acknowledged: %v", err)
	}
	return l.failed
}

// verify makes sure that what was acknowledged last is there, or something later.
func (l *load) verify(c *cluster) {
	l.t.Helper()
	for key, last := range l.acked {
		a := c.members[0].must(http.StatusOK, http.MethodGet, "/v2/keys"+key+"?quorum=true", "")
		var answer struct{ Node struct{ Value string } }
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
			l.t.Fatal(err)
		}
		var got int
		if _, err := fmt.Sscan(answer.Node.Value, &got); err != nil || got < last {
			l.t.Errorf("%s is %q, but %d was acknowledged", key, answer.Node.Value, last)
		}
	}
}
