package rafthttp

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/tlsconf"
	"canopy/raft"
)

// seed replays one run of the random tests; they print it when they fail.
var seed = flag.Uint64("seed", 0, "run the random tests with this seed only")

func seeds(n uint64) []uint64 {
	if *seed != 0 {
		return []uint64{*seed}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i) + 1
	}
	return all
}

// hang is how long a test waits for an event that takes a moment on an idle machine.
const hang = 2 * time.Minute

const (
	testHeartbeat = 20 * time.Millisecond
	testElection  = 5 * time.Second
	testCluster   = 0xc1
)

// node is a member: a transport, the server of its peer port, and an owner that records what it gets.
type node struct {
	*Transport
	t        testing.TB
	self     Identity
	url      string
	server   *http.Server
	cancel   context.CancelFunc
	stopped  chan struct{}
	logged   *lockedBuffer
	listener net.Listener
	owner
}

// owner records what a member gets. Its hooks may be set before the transport runs.
type owner struct {
	lock      sync.Mutex // guards all below but the hooks
	changed   *sync.Cond
	messages  map[raft.MemberID][]raft.Message
	envelopes map[raft.MemberID][][]byte
	lost      map[raft.MemberID]int
	removed   []raft.Index
	refuse    map[raft.MemberID]*Refusal

	discards   bool // drops messages
	onReceive  func(ctx context.Context, from raft.MemberID, messages []raft.Message)
	onSnapshot func(ctx context.Context, from raft.MemberID, m raft.Snapshot, body io.Reader) error
}

func (o *owner) locked(f func()) {
	o.lock.Lock()
	defer o.lock.Unlock()
	f()
	o.changed.Broadcast()
}

func (o *owner) Admit(peer raft.MemberID, _ [16]byte) *Refusal {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.refuse[peer]
}

func (o *owner) Receive(ctx context.Context, from raft.MemberID, messages []raft.Message) {
	if o.onReceive != nil {
		o.onReceive(ctx, from, messages)
	}
	if o.discards {
		return
	}
	o.locked(func() { o.messages[from] = append(o.messages[from], messages...) })
}

func (o *owner) ReceiveEnvelope(_ context.Context, from raft.MemberID, envelope []byte) {
	o.locked(func() { o.envelopes[from] = append(o.envelopes[from], envelope) })
}

func (o *owner) ReceiveSnapshot(ctx context.Context, from raft.MemberID, m raft.Snapshot, body io.Reader) error {
	if o.onSnapshot != nil {
		return o.onSnapshot(ctx, from, m, body)
	}
	_, err := io.Copy(io.Discard, body)
	return err
}

func (o *owner) Lost(peer raft.MemberID) { o.locked(func() { o.lost[peer]++ }) }

func (o *owner) Removed(_ raft.MemberID, _ raft.Term, index raft.Index) {
	o.locked(func() { o.removed = append(o.removed, index) })
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newNode makes a member that does not run yet; more changes its options.
func newNode(t testing.TB, id raft.MemberID, more ...func(*Options)) *node {
	t.Helper()
	n := &node{t: t, self: Identity{Cluster: testCluster, Member: id, Incarnation: [16]byte{byte(id)}}, logged: &lockedBuffer{}}
	n.changed = sync.NewCond(&n.lock)
	n.messages, n.envelopes = map[raft.MemberID][]raft.Message{}, map[raft.MemberID][][]byte{}
	n.lost, n.refuse = map[raft.MemberID]int{}, map[raft.MemberID]*Refusal{}
	logger := logrus.New()
	logger.SetOutput(n.logged)
	o := Options{Self: n.self, Heartbeat: testHeartbeat, Election: testElection, Owner: n, Log: logrus.NewEntry(logger)}
	if certificates != nil {
		o.TLS, o.ExplainTLS = certificates.Handshake, tlsconf.Fault
	}
	for _, change := range more {
		change(&o)
	}
	n.Transport = New(o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.listener = listener
	n.url = "http://" + listener.Addr().String()
	if certificates != nil {
		n.serveTLS(certificates)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return n
}

// run starts it; it is stopped with the test.
func (n *node) run() *node {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.stopped = cancel, make(chan struct{})
	n.server = &http.Server{Handler: n.Handler(), ReadTimeout: time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.server.Serve(n.listener)
	}()
	go func() {
		defer close(n.stopped)
		if err := n.Run(ctx); err != nil {
			n.t.Errorf("Run = %v", err)
		}
		_ = n.server.Close()
		<-served
	}()
	n.t.Cleanup(n.stop)
	eventually(n.t, "the transport runs", func() bool {
		life, leave := n.enter()
		if life != nil {
			leave()
		}
		return life != nil
	})
	return n
}

func (n *node) stop() {
	n.cancel()
	select {
	case <-n.stopped:
	case <-time.After(hang):
		b := make([]byte, 1<<20)
		n.t.Fatalf("member %x does not stop\n%s", n.self.Member, b[:runtime.Stack(b, true)])
	}
}

func (n *node) as() Peer { return Peer{ID: n.self.Member, URLs: []string{n.url}} }

// connect makes members peers of each other.
func connect(nodes ...*node) {
	for _, n := range nodes {
		var peers []Peer
		for _, other := range nodes {
			if other != n {
				peers = append(peers, other.as())
			}
		}
		n.SetPeers(peers)
	}
}

// until waits for a condition on what an owner has recorded.
func (n *node) until(what string, holds func() bool) {
	n.t.Helper()
	expired := false
	timer := time.AfterFunc(hang, func() { n.locked(func() { expired = true }) })
	defer timer.Stop()
	n.lock.Lock()
	defer n.lock.Unlock()
	for !holds() {
		if expired {
			n.t.Fatalf("member %x: waited for: %s\nlog:\n%s", n.self.Member, what, n.logged)
		}
		n.changed.Wait()
	}
}

// eventually waits for a condition that has no signal.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	expired := time.After(hang)
	for !holds() {
		select {
		case <-tick.C:
		case <-expired:
			t.Fatalf("waited for: %s", what)
		}
	}
}

func (n *node) statusOf(id raft.MemberID) PeerStatus {
	for _, s := range n.Status() {
		if s.ID == id {
			return s
		}
	}
	return PeerStatus{}
}

// connected waits until members have both lanes to each other.
func connected(nodes ...*node) {
	for _, n := range nodes {
		for _, other := range nodes {
			if other != n {
				eventually(n.t, fmt.Sprintf("%x reaches %x", n.self.Member, other.self.Member), func() bool { return n.statusOf(other.self.Member).Active })
			}
		}
	}
}

func (n *node) logs(what string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("member %x logs %q\n%s", n.self.Member, what, n.logged), func() bool { return strings.Contains(n.logged.String(), what) })
}

// pair are two members that are connected.
func pair(t testing.TB, more ...func(*Options)) (a, b *node) {
	t.Helper()
	a, b = newNode(t, 0xa, more...), newNode(t, 0xb, more...)
	connect(a, b)
	a.run()
	b.run()
	connected(a, b)
	return a, b
}

func TestMessagesArriveInOrder(t *testing.T) {
	a, b := pair(t)
	const count = 2000
	for i := range raft.Index(count) {
		a.Send([]raft.Outbound{{To: 0xb, Message: raft.Commit{Term: 1, Index: i}}})
	}
	if !a.SendEnvelope(0xb, []byte("an envelope")) {
		t.Error("the envelope was dropped")
	}
	b.until("all messages", func() bool { return len(b.messages[0xa]) == count })
	for i, msg := range b.messages[0xa] {
		if msg != (raft.Commit{Term: 1, Index: raft.Index(i)}) {
			t.Fatalf("message %d is %v", i, msg)
		}
	}
	b.until("the envelope", func() bool { return len(b.envelopes[0xa]) == 1 && string(b.envelopes[0xa][0]) == "an envelope" })
}

func TestSnapshotArrives(t *testing.T) {
	a, b := pair(t)
	want := bytes.Repeat([]byte("snapshot "), 1<<18)
	var got []byte
	var meta raft.Snapshot
	b.onSnapshot = func(_ context.Context, from raft.MemberID, m raft.Snapshot, body io.Reader) (err error) {
		meta = m
		if from != 0xa {
			return errors.New("from somebody else")
		}
		got, err = io.ReadAll(body)
		return err
	}
	m := raft.Snapshot{Term: 3, Meta: raft.SnapshotMeta{Index: 7, Term: 2, Configuration: raft.Configuration{Voters: []raft.MemberID{0xa, 0xb}}}}
	if err := a.SendSnapshot(context.Background(), 0xb, m, bytes.NewReader(want), int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || meta.Term != 3 || meta.Meta.Index != 7 || !meta.Meta.Configuration.Equal(m.Meta.Configuration) {
		t.Errorf("received %d bytes for %v", len(got), meta)
	}
}
