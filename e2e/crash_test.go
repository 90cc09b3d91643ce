package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

var (
	crashes   = flag.Int("crashes", 10, "how often the crash test kills the server")
	crashSeed = flag.Uint64("crash-seed", 0, "seed of the crash test; 0: a fresh one")
)

const crashWriters = 64

// writer changes keys of its own and knows what must be there after a crash:
// all that was acknowledged, and at most the one request that was not.
type writer struct {
	client *http.Client
	dir    string

	value   int    // of the counter, acknowledged
	tried   int    // the value that an unanswered request would have set; value if there is none
	index   uint64 // the highest X-Etcd-Index seen
	queued  int    // children of the queue, acknowledged
	pending bool   // one more may be there
}

type node struct {
	Key           string
	Value         string
	ModifiedIndex uint64
	CreatedIndex  uint64
	Nodes         []node
}

type keysAnswer struct {
	Action    string
	Node      node
	PrevNode  *node
	ErrorCode int
}

// TestAcknowledgedWritesSurviveKill kills the server at random moments under
// 64 writers: whatever was acknowledged is there, indexes do not go back, and
// a compare-and-swap has happened as a whole or not at all (K135, R3, R10).
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	parallel(t)
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -crash-seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := newServer(t, "--snapshot-count", "2000", "--wal-segment-bytes", "1048576", "--log-level", "warn").start()
	writers := make([]*writer, crashWriters)
	for i := range writers {
		writers[i] = &writer{client: &http.Client{Transport: &http.Transport{}}, dir: s.client + "/v2/keys/crash/" + strconv.Itoa(i)}
	}
	acknowledged := 0
	for range *crashes {
		acknowledged += writeUntilKilled(s, writers, time.Duration(20+rng.IntN(400))*time.Millisecond)
		s.start()
		for _, w := range writers {
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d crashes, %d acknowledged writes", *crashes, acknowledged)
	if acknowledged == 0 {
		t.Error("nothing was written")
	}
}

func writeUntilKilled(s *server, writers []*writer, after time.Duration) int {
	var all sync.WaitGroup
	counts := make([]int, len(writers))
	for i, w := range writers {
		all.Go(func() { counts[i] = w.run() })
	}
	<-time.After(after)
	s.kill()
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// run writes until the server is gone, and counts what was acknowledged.
func (w *writer) run() (acknowledged int) {
	defer w.client.CloseIdleConnections()
	for ; ; acknowledged++ {
		step := w.increment
		if acknowledged%4 == 3 {
			step = w.enqueue
		}
		if err := step(); err != nil {
			return acknowledged
		}
	}
}

func (w *writer) increment() error {
	w.tried = w.value + 1
	form := url.Values{"value": {strconv.Itoa(w.tried)}}
	if w.value > 0 {
		form.Set("prevValue", strconv.Itoa(w.value))
	}
	a, err := w.send(http.MethodPut, w.dir+"/counter", form)
	if err != nil {
		return err
	}
	w.value = w.tried
	w.index = max(w.index, a.Node.ModifiedIndex)
	return nil
}

func (w *writer) enqueue() error {
	w.pending = true
	a, err := w.send(http.MethodPost, w.dir+"/queue", url.Values{"value": {"x"}})
	if err != nil {
		return err
	}
	w.queued++
	w.pending = false
	w.index = max(w.index, a.Node.ModifiedIndex)
	return nil
}

func (w *writer) send(method, target string, form url.Values) (*keysAnswer, error) {
	a, err := send(w.client, method, target, form.Encode())
	if err != nil {
		return nil, err
	}
	var k keysAnswer
	if err := json.Unmarshal([]byte(a.body), &k); err != nil {
		return nil, fmt.Errorf("%s %s: %d %q: %w", method, target, a.status, a.body, err)
	}
	if a.status >= 300 {
		return nil, fmt.Errorf("%s %s: %d %s", method, target, a.status, a.body)
	}
	return &k, nil
}

// check compares the server's keys with what the writer knows, and takes over
// what the unanswered request has become.
func (w *writer) check() error {
	counter, err := w.read("/counter")
	if err != nil {
		return err
	}
	found := 0
	if counter != nil {
		if found, err = strconv.Atoi(counter.Value); err != nil {
			return fmt.Errorf("%s/counter: %w", w.dir, err)
		}
	}
	if found != w.value && found != w.tried {
		return fmt.Errorf("%s/counter = %d, want %d, which was acknowledged, or %d, which was tried", w.dir, found, w.value, w.tried)
	}
	queue, err := w.read("/queue")
	if err != nil {
		return err
	}
	children := 0
	if queue != nil {
		children = len(queue.Nodes)
	}
	if children != w.queued && !(w.pending && children == w.queued+1) {
		return fmt.Errorf("%s/queue has %d children, want %d (one more may be there: %v)", w.dir, children, w.queued, w.pending)
	}
	w.value, w.tried, w.queued, w.pending = found, found, children, false
	return nil
}

// read gives a node, nil if it is missing. The index must not have gone back.
func (w *writer) read(path string) (*node, error) {
	a, err := send(w.client, http.MethodGet, w.dir+path, "")
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseUint(a.header.Get("X-Etcd-Index"), 10, 64)
	if err != nil {
		return nil, err
	}
	if index < w.index {
		return nil, fmt.Errorf("GET %s: index %d after %d was seen", path, index, w.index)
	}
	w.index = index
	var k keysAnswer
	if err := json.Unmarshal([]byte(a.body), &k); err != nil {
		return nil, err
	}
	switch {
	case a.status == http.StatusNotFound:
		return nil, nil
	case a.status != http.StatusOK:
		return nil, fmt.Errorf("GET %s: %d %s", path, a.status, a.body)
	}
	return &k.Node, nil
}

// nodeOf is the node in an answer of /v2/keys.
func nodeOf(t *testing.T, a answer) node {
	t.Helper()
	var k keysAnswer
	if err := json.Unmarshal([]byte(a.body), &k); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return k.Node
}
