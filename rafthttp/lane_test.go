package rafthttp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"canopy/raft"
	"canopy/rafthttp/wire"
	"canopy/rafthttp/wire/wiretest"
)

// shortElection is for tests that wait for it; other tests must work on busy machines.
const shortElection = 500 * time.Millisecond

func withShortElection(o *Options) { o.Election = shortElection }

func heartbeat(to raft.MemberID, round uint64) []raft.Outbound {
	return []raft.Outbound{{To: to, Message: raft.Heartbeat{Term: 1, Round: round}}}
}

func bulk(to raft.MemberID, index raft.Index, size int) []raft.Outbound {
	return []raft.Outbound{{To: to, Message: raft.Append{Term: 1, PrevIndex: index - 1, PrevTerm: 1,
		Entries: []raft.Entry{{Index: index, Term: 1, Data: make([]byte, size)}}}}}
}

// Three members talk to each other from many goroutines.
func TestOrderAndContentsSurviveLoad(t *testing.T) {
	for _, seed := range seeds(1) {
		nodes := []*node{newNode(t, 1), newNode(t, 2), newNode(t, 3)}
		connect(nodes...)
		for _, n := range nodes {
			n.run()
		}
		connected(nodes...)
		const count = 300
		var senders sync.WaitGroup
		for i, n := range nodes {
			for _, to := range nodes {
				if to == n {
					continue
				}
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				senders.Go(func() {
					for k := range raft.Index(count) {
						m := wiretest.RandomAppend(rng, 1, k, rng.IntN(4), 1<<rng.IntN(17))
						for e := range m.Entries {
							if data := m.Entries[e].Data; len(data) >= 8 {
								binary.LittleEndian.PutUint64(data, uint64(len(data))) // checked on arrival
							}
						}
						n.Send([]raft.Outbound{{To: to.self.Member, Message: m}, {To: to.self.Member, Message: raft.Commit{Term: 1, Index: k}}})
					}
				})
			}
		}
		senders.Wait()
		for _, n := range nodes {
			for _, from := range nodes {
				if from == n {
					continue
				}
				n.until("all messages", func() bool { return len(n.messages[from.self.Member]) == 2*count })
				n.locked(func() { checkOrder(t, seed, n.messages[from.self.Member]) })
			}
		}
	}
}

func checkOrder(t *testing.T, seed uint64, messages []raft.Message) {
	t.Helper()
	var appended, committed raft.Index
	for _, m := range messages {
		switch m := m.(type) {
		case raft.Append:
			if m.PrevIndex != appended {
				t.Fatalf("-seed %d: append %d came in place of %d", seed, m.PrevIndex, appended)
			}
			appended++
			for _, e := range m.Entries {
				if len(e.Data) >= 8 && binary.LittleEndian.Uint64(e.Data) != uint64(len(e.Data)) {
					t.Fatalf("-seed %d: the data of entry %d are not what was sent", seed, e.Index)
				}
			}
		case raft.Commit:
			if m.Index != committed {
				t.Fatalf("-seed %d: commit %d came in place of %d", seed, m.Index, committed)
			}
			committed++
		}
	}
}

// 100 MB are queued for a peer that reads nothing, and heartbeats are timed meanwhile (R35).
func TestBulkDoesNotDelayHeartbeats(t *testing.T) {
	const interval = 100 * time.Millisecond
	a, b := newNode(t, 0xa, func(o *Options) { o.Heartbeat, o.Election = interval, 20*interval }), newNode(t, 0xb)
	release := make(chan struct{})
	b.onReceive = func(ctx context.Context, _ raft.MemberID, messages []raft.Message) {
		if _, ok := messages[0].(raft.Append); ok {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	}
	connect(a, b)
	a.run()
	b.run()
	connected(a, b)
	for i := range raft.Index(105) {
		a.Send(bulk(0xb, i+1, 1<<20))
	}
	if s := a.statusOf(0xb); s.QueuedBytes > logBytesMax+controlBytesMax || s.QueuedBytes < 80<<20 {
		t.Errorf("%d bytes are queued", s.QueuedBytes)
	}
	a.until("the loss", func() bool { return a.lost[0xb] >= 1 })
	for round := range uint64(20) {
		a.Send(heartbeat(0xb, round))
		b.until("the heartbeat, before all of the bulk", func() bool { return len(b.messages[0xa]) > int(round) })
	}
	if !a.statusOf(0xb).Active {
		t.Errorf("the slow peer was given up: %v", a.statusOf(0xb).LastError)
	}
	lost := 0
	a.locked(func() { lost = a.lost[0xb] })
	close(release)
	a.until("word that there is room again", func() bool { return a.lost[0xb] > lost })
	eventually(t, "the queue is written", func() bool { return a.statusOf(0xb).QueuedMessages == 0 })
}

// unresponsive is a member that makes the handshake and then never reads or writes.
func unresponsive(t *testing.T, id raft.MemberID) (peer Peer, connections func() int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var held []net.Conn
	var count atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := wire.ParseHello(r.Header)
		if err != nil {
			t.Error(err)
			return
		}
		answer := wire.Hello{Lowest: 1, Highest: 1, Cluster: h.Cluster, From: id, To: h.From, Incarnation: [16]byte{byte(id)}, Version: "2.3.8", Heartbeat: h.Heartbeat, Election: h.Election}
		answer.Write(w.Header())
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", upgradeToken)
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		count.Add(1)
		mu.Lock()
		defer mu.Unlock()
		held = append(held, conn)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
		mu.Lock()
		defer mu.Unlock()
		for _, c := range held {
			_ = c.Close()
		}
	})
	return Peer{ID: id, URLs: []string{"http://" + listener.Addr().String()}}, func() int { return int(count.Load()) }
}

// One peer hangs in its connections (R24, R42).
func TestAStuckPeerBlocksNoOther(t *testing.T) {
	a, b := newNode(t, 0xa, withShortElection), newNode(t, 0xb, withShortElection)
	stuck, connections := unresponsive(t, 0xc)
	a.SetPeers([]Peer{b.as(), stuck})
	b.SetPeers([]Peer{a.as()})
	a.run()
	b.run()
	eventually(t, "the good peer is reached", func() bool { return a.statusOf(0xb).Active })
	eventually(t, "the stuck one is reached", func() bool { return connections() >= 2 })
	for i := range raft.Index(300) {
		a.Send(bulk(0xc, i+1, 1<<20)) // never waits
		a.Send(heartbeat(0xc, uint64(i)))
		a.Send(heartbeat(0xb, uint64(i)))
	}
	b.until("all for the good peer", func() bool { return len(b.messages[0xa]) == 300 })
	if s := a.statusOf(0xc); s.QueuedBytes > logBytesMax+controlBytesMax {
		t.Errorf("%d bytes are queued for the stuck peer", s.QueuedBytes)
	}
	a.logs("the connection with c became inactive")
	if !strings.Contains(fmt.Sprint(a.statusOf(0xc).LastError), "no data received") {
		t.Errorf("the error is %v", a.statusOf(0xc).LastError)
	}
	eventually(t, "both streams of the stuck peer are dialled again", func() bool { return connections() >= 4 })
}

// Nothing passes on a peer's connections any more, but they stay open (R42).
func TestDeadPeerIsNoticedWithinAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Bool
		a, b := pipedPair(t, withShortElection, func(o *Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if cut.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				c, err := dial(ctx, network, address)
				return &droppingConn{Conn: c, cut: &cut}, err
			}
		})
		for round := range uint64(10) {
			a.Send(heartbeat(0xb, round))
		}
		b.until("the heartbeats", func() bool { return len(b.messages[0xa]) == 10 })
		cut.Store(true)
		began := time.Now()
		eventually(t, "the peer is inactive", func() bool { return !a.statusOf(0xb).Active })
		if took := time.Since(began); took > shortElection {
			t.Errorf("noticed after %v, the election time-out is %v", took, shortElection)
		}
		a.until("the loss", func() bool { return a.lost[0xb] > 0 })
		cut.Store(false)
		connected(a, b)
		a.logs("became inactive")
	})
}

// droppingConn drops what is written while it is cut.
type droppingConn struct {
	net.Conn
	cut *atomic.Bool
}

func (h *droppingConn) Write(b []byte) (int, error) {
	if h.cut.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func TestPeerThatStartsAgainIsFoundAgain(t *testing.T) {
	a, b := pair(t)
	address := b.listener.Addr().String()
	b.stop()
	eventually(t, "b is missed", func() bool { return !a.statusOf(0xb).Active })
	lost := 0
	a.until("the loss, of both lanes", func() bool { lost = a.lost[0xb]; return lost >= 2 })
	again := newNode(t, 0xb)
	_ = again.listener.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again.listener, again.url = listener, "http://"+address
	connect(a, again)
	again.run()
	connected(a, again)
	a.until("word that there are streams again", func() bool { return a.lost[0xb] >= lost+2 })
	a.Send(heartbeat(0xb, 2))
	again.until("the heartbeat", func() bool { return len(again.messages[0xa]) == 1 })
	if n := strings.Count(a.logged.String(), "became active"); n != 2 {
		t.Errorf("became active %d times:\n%s", n, a.logged)
	}
}

// A peer moves while its old address still answers, and then to URLs; the first of these is dead.
func TestChangedURLsAreDialledAtOnce(t *testing.T) {
	a, b := pair(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadURL := "http://" + dead.Addr().String()
	_ = dead.Close()
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{deadURL, b.url}}})
	a.logs("became inactive (stream")
	eventually(t, "the second URL is used", func() bool { return a.statusOf(0xb).Active })
	eventually(t, "a heartbeat arrives", func() bool {
		a.Send(heartbeat(0xb, 1)) // one is lost with a stream that is not closed yet
		b.lock.Lock()
		defer b.lock.Unlock()
		return len(b.messages[0xa]) > 0
	})
}

// The first URL of a peer hangs while connecting (R41).
func TestSlowURLIsRaced(t *testing.T) {
	b := newNode(t, 0xb).run()
	a := newNode(t, 0xa, func(o *Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "slow.") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		o.Election = 5 * hang // dialling may take a fifth of it and a second: longer than this test waits
	})
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{"http://slow.example", b.url}}})
	a.run()
	eventually(t, "the peer is reached", func() bool { return a.statusOf(0xb).Active })
}

func TestURLOfAnotherMemberIsSkipped(t *testing.T) {
	b, c := newNode(t, 0xb).run(), newNode(t, 0xc).run()
	a := newNode(t, 0xa)
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{c.url, b.url}}})
	a.run()
	eventually(t, "the peer is reached", func() bool { return a.statusOf(0xb).Active })
	a.logs("refuses to talk to this member: not the member you mean")
}

func TestALossIsReported(t *testing.T) {
	a, b := pair(t)
	if a.SendEnvelope(0xb, make([]byte, wire.EnvelopeBytesMax+1)) {
		t.Error("an envelope that is too long was queued")
	}
	if a.SendEnvelope(0xc, []byte("x")) {
		t.Error("an envelope to no peer was queued")
	}
	a.Send([]raft.Outbound{{To: 0xb, Message: raft.Snapshot{Term: 1}}})
	a.until("the loss", func() bool { return a.lost[0xb] == 1 })
	long := bytes.Repeat([]byte("n"), wire.EnvelopeBytesMax)
	if !a.SendEnvelope(0xb, long) {
		t.Fatal("the longest envelope was dropped")
	}
	b.until("the envelope", func() bool { return len(b.envelopes[0xa]) == 1 })
	if !bytes.Equal(b.envelopes[0xa][0], long) {
		t.Error("it is not what was sent")
	}
}

// TestRemovedMemberIsToldWithProof (R34, R15).
func TestRemovedMemberIsToldWithProof(t *testing.T) {
	a, b := pair(t)
	b.locked(func() { b.refuse[0xa] = &Refusal{Reason: Removed, Text: "member a was removed", Term: 4, Index: 77} })
	b.SetPeers(nil)
	a.until("that it was removed", func() bool { return len(a.removed) > 0 && a.removed[0] == 77 })
	a.logs("b (" + b.url + ") refuses to talk to this member: removed member: member a was removed")
	b.logs("refused member a")
	eventually(t, "nothing is open", func() bool { return !a.statusOf(0xb).Active })
	for _, n := range []*node{a, b} {
		if lines := strings.Count(n.logged.String(), "removed member"); lines > 2 {
			t.Errorf("%d lines:\n%s", lines, n.logged)
		}
	}
}

// Members of two clusters have each other's URLs (R41 of the known failures).
func TestCrossedClustersStayApart(t *testing.T) {
	a := newNode(t, 0xa)
	b := newNode(t, 0xb, func(o *Options) { o.Self.Cluster = 0xc2 })
	connect(a, b)
	a.run()
	b.run()
	a.logs("of cluster c2")
	b.logs("of cluster c1")
	a.Send(heartbeat(0xb, 1))
	a.until("the loss", func() bool { return a.lost[0xb] == 1 })
	err := a.SendSnapshot(context.Background(), 0xb, raft.Snapshot{Term: 1}, strings.NewReader("x"), 1)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != OtherCluster {
		t.Errorf("a snapshot to another cluster: %v", err)
	}
	b.locked(func() {
		if len(b.messages) > 0 {
			t.Errorf("b heard %v", b.messages)
		}
	})
}

func TestAnotherIncarnationIsRefused(t *testing.T) {
	a, b := newNode(t, 0xa), newNode(t, 0xb)
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{b.url}, Incarnation: bytes.Repeat([]byte{9}, 16)}})
	b.SetPeers([]Peer{a.as()})
	a.run()
	b.run()
	b.logs("member b does not have the data directory that you know, 09090909")
	if a.statusOf(0xb).Active {
		t.Error("it is active")
	}
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{b.url}, Incarnation: b.self.Incarnation[:]}})
	connected(a, b)
}

// The test counts goroutines, with open streams, envelopes and snapshots, and owners that wait.
func TestNothingRunsAfterRun(t *testing.T) {
	before := runtime.NumGoroutine()
	a, b := newNode(t, 0xa), newNode(t, 0xb)
	waiting := func(ctx context.Context, _ raft.MemberID, _ []raft.Message) { <-ctx.Done() }
	a.onReceive, b.onReceive = waiting, waiting
	gone := Peer{ID: 0xd, URLs: []string{"http://127.0.0.1:1"}}
	a.SetPeers([]Peer{b.as(), gone})
	b.SetPeers([]Peer{a.as(), gone})
	a.run()
	b.run()
	eventually(t, "they are connected", func() bool { return a.statusOf(0xb).Active && b.statusOf(0xa).Active })
	a.Send(heartbeat(0xb, 1))
	b.Send(bulk(0xa, 1, 1<<20))
	sent := make(chan error, 1)
	body, feed := net.Pipe()
	go func() { sent <- a.SendSnapshot(context.Background(), 0xb, raft.Snapshot{Term: 1}, body, 1<<20) }()
	if _, err := feed.Write([]byte("begins")); err != nil {
		t.Fatal(err)
	}
	b.stop()
	_ = feed.Close()
	if err := <-sent; err == nil {
		t.Error("a snapshot that ended early was taken")
	}
	_ = body.Close()
	a.stop()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// A peer is followed from its first connection to its removal.
func TestWhatOperatorsSee(t *testing.T) {
	var sent, received, failed, dropped atomic.Int64
	var active, peers atomic.Int32
	observer := Observer{
		Added:    func(raft.MemberID) { peers.Add(1) },
		Removed:  func(raft.MemberID) { peers.Add(-1) },
		Sent:     func(_ raft.MemberID, n int) { sent.Add(int64(n)) },
		Received: func(_ raft.MemberID, n int) { received.Add(int64(n)) },
		Failed:   func(raft.MemberID) { failed.Add(1) },
		Dropped:  func(raft.MemberID) { dropped.Add(1) },
		Active: func(_ raft.MemberID, is bool) {
			if is {
				active.Add(1)
			} else {
				active.Add(-1)
			}
		},
	}
	a, b := newNode(t, 0xa, func(o *Options) { o.Observer = observer }), newNode(t, 0xb)
	connect(a, b)
	if s := a.statusOf(0xb); s.Active || !s.Since.IsZero() || !s.LastHeard.IsZero() || s.LastError != nil {
		t.Errorf("before the first connection: %+v", s)
	}
	a.Send(heartbeat(0xb, 1))
	a.Send(heartbeat(0xb, 2))
	if dropped.Load() != 2 || a.lost[0xb] != 1 {
		t.Errorf("%d messages were dropped, and %d losses told of", dropped.Load(), a.lost[0xb])
	}
	b.run()
	a.run()
	connected(a, b)
	a.until("the time to send again", func() bool { return a.lost[0xb] == 2 })
	eventually(t, "pings are answered", func() bool {
		s := a.statusOf(0xb)
		return s.RoundTrip > 0 && time.Since(s.LastHeard) < time.Minute
	})
	b.Send(bulk(0xa, 1, 1<<20))
	a.until("the append", func() bool { return len(a.messages[0xb]) == 1 })
	eventually(t, "bytes are counted", func() bool { return sent.Load() > 0 && received.Load() > 1<<20 })
	if active.Load() != 1 || failed.Load() != 0 {
		t.Errorf("active is %d, %d failures", active.Load(), failed.Load())
	}
	if peers.Load() != 1 {
		t.Errorf("told of %d peers, want 1", peers.Load())
	}
	a.SetPeers(nil)
	if peers.Load() != 0 || active.Load() != 0 || len(a.Status()) != 0 {
		t.Errorf("told of %d peers, active is %d, and the status is %v", peers.Load(), active.Load(), a.Status())
	}
	a.logs("the connection with b became inactive (the peer is not a member any more)")
	b.logs("the connection with a became inactive")
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		now := make(chan struct{}, 1)
		for i := range 10 {
			want := min(backoffMin<<i, backoffMax)
			began := time.Now()
			b.pause(context.Background(), now)
			if took := time.Since(began); took < want*3/4 || took > want*5/4 {
				t.Errorf("pause %d took %v, want about %v", i, took, want)
			}
		}
		now <- struct{}{}
		began := time.Now()
		b.pause(context.Background(), now)
		if took := time.Since(began); took != 0 {
			t.Errorf("it was not cut short, but took %v", took)
		}
	})
}

func TestTheSameLineComesOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		first := func(about subject) bool { return j.observe(about, 0, time.Now()) }
		for minute := range 3 {
			if !first(subject{1, "x"}) || first(subject{1, "x"}) || !first(subject{1, "y"}) || !first(subject{2, "x"}) {
				t.Errorf("minute %d: a line too many or too few", minute)
			}
			for id := range raft.MemberID(10_000) {
				first(subject{id + 10, "x"})
			}
			if len(j.subjects) > subjectsMax {
				t.Errorf("%d subjects are kept", len(j.subjects))
			}
			<-time.After(time.Minute + time.Second)
		}
	})
}

// A condition that is normal for a while is logged once it lasts, and then each minute.
func TestAShortConditionIsNotAWarning(t *testing.T) {
	var j journal
	about, start := subject{1, "x"}, time.Unix(1_000_000, 0)
	var written []int
	for second := range 130 {
		if j.observe(about, 5*time.Second, start.Add(time.Duration(second)*time.Second)) {
			written = append(written, second)
		}
	}
	if want := []int{5, 65, 125}; !slices.Equal(written, want) {
		t.Errorf("written after %v seconds, want %v", written, want)
	}
}
