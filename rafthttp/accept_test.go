package rafthttp

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"canopy/raft"
	"canopy/rafthttp/wire"
	"canopy/rafthttp/wire/wiretest"
)

// rawStream is a connection that has passed the handshake as another member, and that the test controls.
func rawStream(t *testing.T, n *node, as raft.MemberID, lane laneKind) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", n.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgradeToken}, wire.HeaderLane: {lane.String()}}
	h := wire.Hello{
		Lowest: 1, Highest: 1, Cluster: testCluster, From: as, To: n.self.Member, Incarnation: [16]byte{byte(as)},
		Version: "2.3.8", Heartbeat: testHeartbeat, Election: testElection,
	}
	h.Write(header)
	if err := writeRequest(conn, "GET", streamPath, "peer", header); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake was answered with %v, %v", answer, err)
	}
	return conn, r
}

// closed waits until the other side has closed a connection.
func closed(t *testing.T, what string, r io.Reader) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, r)
		close(done)
	}()
	eventually(t, what+": the connection is closed", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// Each stream sends what no member sends; the others continue meanwhile (R24 of the known failures).
func TestHostileStreamsAffectNoOther(t *testing.T) {
	a, b := pair(t)
	huge := wiretest.Frame(byte(wire.KindStale), []byte{8, 1})
	binary.LittleEndian.PutUint32(huge, 1<<31)
	var e wire.Encoder
	snapshot, _ := e.Append(nil, raft.Snapshot{Term: 1})
	for name, bytes := range map[string][]byte{
		"garbage":             []byte("GET / HTTP/1.1\r\n\r\n and more of it"),
		"length out of range": huge,
		"pong":                wire.AppendPing(nil, wire.KindPong, 1),
		"short ping":          wiretest.Frame(byte(wire.KindPing), []byte{1}),
		"snapshot":            snapshot,
		"malformed message":   wiretest.Frame(byte(wire.KindVote), []byte{255}),
		"malformed append":    wiretest.Frame(byte(wire.KindAppend), []byte{1, 0, 0, 0}),
		"append of no length": wiretest.Frame(byte(wire.KindAppend), nil),
	} {
		for _, lane := range []laneKind{controlLane, logLane} {
			conn, r := rawStream(t, b, 0xc, lane)
			if _, err := conn.Write(bytes); err != nil {
				t.Fatal(err)
			}
			closed(t, name, r)
		}
	}
	b.logs("closed the stream")
	a.Send(heartbeat(0xb, 1))
	b.until("the heartbeat of another member", func() bool { return len(b.messages[0xa]) == 1 })
	b.locked(func() {
		if len(b.messages[0xc]) > 0 {
			t.Errorf("the owner was given %v", b.messages[0xc])
		}
	})
}

// TestGarbageOnStreams fuzzes the port: valid frames, then damaged ones.
func TestGarbageOnStreams(t *testing.T) {
	b := newNode(t, 0xb).run()
	for _, seed := range seeds(50) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var e wire.Encoder
		var bytes []byte
		for range 1 + rng.IntN(20) {
			bytes, _ = e.Append(bytes, wiretest.RandomMessage(rng))
		}
		for range 1 + rng.IntN(5) {
			bytes[rng.IntN(len(bytes))] = byte(rng.Uint32())
		}
		conn, r := rawStream(t, b, 0x100+raft.MemberID(seed), laneKind(rng.IntN(2)))
		if _, err := conn.Write(bytes); err != nil {
			continue // closed already
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		closed(t, "garbage", r)
	}
}

// TestPingsAreAnsweredOnBothLanes does so while messages go in between.
func TestPingsAreAnsweredOnBothLanes(t *testing.T) {
	b := newNode(t, 0xb).run()
	for _, lane := range []laneKind{controlLane, logLane} {
		conn, r := rawStream(t, b, 0xc, lane)
		frames := wire.NewReader(r)
		var e wire.Encoder
		for number := range uint64(10) {
			bytes, _ := e.Append(nil, raft.Stale{Term: 1})
			if _, err := conn.Write(wire.AppendPing(bytes, wire.KindPing, number)); err != nil {
				t.Fatal(err)
			}
			k, payload, err := frames.Next()
			if err != nil || k != wire.KindPong || binary.LittleEndian.Uint64(payload) != number {
				t.Fatalf("%v: ping %d: kind %d, %v, %v", lane, number, k, payload, err)
			}
		}
	}
	b.until("the messages", func() bool { return len(b.messages[0xc]) == 20 })
}

// A member dials again while its first connection seems to be open.
func TestSecondStreamReplacesTheFirst(t *testing.T) {
	b := newNode(t, 0xb).run()
	_, first := rawStream(t, b, 0xc, controlLane)
	_, other := rawStream(t, b, 0xc, logLane)
	second, r := rawStream(t, b, 0xc, controlLane)
	closed(t, "the first", first)
	if _, err := second.Write(wire.AppendPing(nil, wire.KindPing, 1)); err != nil {
		t.Fatal(err)
	}
	frames := wire.NewReader(r)
	if k, _, err := frames.Next(); err != nil || k != wire.KindPong {
		t.Errorf("the second: kind %d, %v", k, err)
	}
	b.SetPeers([]Peer{{ID: 0xc, URLs: []string{"http://127.0.0.1:1"}}})
	b.SetPeers(nil)
	closed(t, "of one that is no peer any more", r)
	closed(t, "of one that is no peer any more", other)
}

func TestSilentStreamIsClosed(t *testing.T) {
	b := newNode(t, 0xb, withShortElection).run()
	conn, r := rawStream(t, b, 0xc, controlLane)
	if _, err := conn.Write(wiretest.Frame(byte(wire.KindStale), []byte{8, 1})[:7]); err != nil {
		t.Fatal(err)
	}
	closed(t, "silent", r)
}

// TestOwnerThatWaitsHoldsUpOneStream (R24 of peer.md).
func TestOwnerThatWaitsHoldsUpOneStream(t *testing.T) {
	b := newNode(t, 0xb)
	b.onReceive = func(ctx context.Context, from raft.MemberID, _ []raft.Message) {
		if from == 0xc {
			<-ctx.Done()
		}
	}
	b.run()
	slow, _ := rawStream(t, b, 0xc, controlLane)
	if _, err := slow.Write(wiretest.Frame(byte(wire.KindStale), []byte{8, 1})); err != nil {
		t.Fatal(err)
	}
	fast, _ := rawStream(t, b, 0xd, controlLane)
	if _, err := fast.Write(wiretest.Frame(byte(wire.KindStale), []byte{8, 1})); err != nil {
		t.Fatal(err)
	}
	b.until("the other member's message", func() bool { return len(b.messages[0xd]) == 1 })
}

// Otherwise each attempt of a peer would leave a goroutine.
func TestReplacedStreamReleasesTheOwner(t *testing.T) {
	b := newNode(t, 0xb)
	var waiting atomic.Int32
	b.onReceive = func(ctx context.Context, _ raft.MemberID, _ []raft.Message) {
		waiting.Add(1)
		<-ctx.Done()
		waiting.Add(-1)
	}
	b.run()
	for range 3 {
		conn, _ := rawStream(t, b, 0xc, controlLane)
		eventually(t, "the one before has given up", func() bool { return waiting.Load() == 0 })
		if _, err := conn.Write(wiretest.Frame(byte(wire.KindStale), []byte{8, 1})); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the owner waits", func() bool { return waiting.Load() == 1 })
	}
}

func TestWrongUpgradesAreRefused(t *testing.T) {
	b := newNode(t, 0xb).run()
	for _, c := range []struct {
		upgrade, lane string
		want          int
	}{{"", "log", 426}, {"websocket", "log", 426}, {upgradeToken, "", 400}, {upgradeToken, "middle", 400}} {
		request, err := http.NewRequest("GET", b.url+streamPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := wire.Hello{Lowest: 1, Highest: 1, Cluster: testCluster, From: 0xa, To: 0xb, Incarnation: [16]byte{0xa}, Version: "2.3.8", Heartbeat: testHeartbeat, Election: testElection}
		h.Write(request.Header)
		request.Header.Set("Upgrade", c.upgrade)
		request.Header.Set(wire.HeaderLane, c.lane)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.want {
			t.Errorf("upgrade %q, lane %q: %d, want %d", c.upgrade, c.lane, answer.StatusCode, c.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
