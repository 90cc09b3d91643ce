package httpserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"canopy/internal/memory"
)

// countIdle counts the connections that may be closed for another.
func (b *Budget) countIdle() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		if c.idle.Load() != 0 {
			n++
		}
	}
	return n
}

func TestBudgetClosesTheLongestIdle(t *testing.T) {
	var idle, fresh, open atomic.Int64
	b := NewBudget(3, func(wasIdle bool) {
		if wasIdle {
			idle.Add(1)
		} else {
			fresh.Add(1)
		}
	}, func(n int) { open.Store(int64(n)) })
	s := newSite(t, b, Options{ConnState: b.ConnState})

	const get = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
	answered := func(conn net.Conn) bool {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		return err == nil
	}
	oldest := s.dial(get)
	if !answered(oldest) {
		t.Fatal("the first connection is not served")
	}
	eventually(t, "the first connection is idle", func() bool { return b.countIdle() == 1 })
	stream := s.wait("/stream")
	younger := s.dial(get)
	if !answered(younger) {
		t.Fatal("the third connection is not served")
	}
	eventually(t, "two connections are idle", func() bool { return b.countIdle() == 2 })
	s.wait("/wait")
	if _, err := oldest.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("F36: the longest idle connection: %v, want EOF", err)
	}
	s.wait("/wait") // younger is closed for it
	if answered(s.dial("")) {
		t.Error("F36: a connection beyond the budget is served")
	}
	if idle.Load() != 2 || fresh.Load() != 1 || open.Load() != 3 {
		t.Errorf("F36: closed %d idle and %d new, open %d; want 2, 1, 3", idle.Load(), fresh.Load(), open.Load())
	}
	stream.Close()
	eventually(t, "the stream is not counted any more", func() bool { return open.Load() == 2 })
	if !answered(s.dial(get)) {
		t.Error("no connection is served although there is room")
	}
}

// TestManyConnectionsLeaveMemoryToOthers: a client that opens connections until memory is used up leaves some to a client
// that has few, and does not get an idle connection of that one.
func TestManyConnectionsLeaveMemoryToOthers(t *testing.T) {
	const bytes, most = 1 << 10, 80
	b := NewBudget(0, nil, nil)
	b.LimitClients(1000)
	b.Bound(memory.New(most*bytes, nil), bytes)
	arrive := func(from string) *budgetConn {
		server, _ := net.Pipe()
		c, _ := b.admit(addressed{server, net.TCPAddr{IP: net.ParseIP(from)}}).(*budgetConn)
		return c
	}
	many := 0
	for arrive("10.0.0.1") != nil {
		many++
	}
	if many < most*3/4 || many >= most {
		t.Errorf("one client has %d connections of %d", many, most)
	}
	few := arrive("10.0.0.2")
	if few == nil {
		t.Fatal("a client that has no connection gets none")
	}
	b.ConnState(few, http.StateIdle)
	if arrive("10.0.0.1") != nil {
		t.Error("a client that has many gets another connection")
	}
	if few.closed.Load() || arrive("10.0.0.3") == nil {
		t.Error("an idle connection of a client that has few is closed for it, or others get none")
	}
}

// A client that has its share gets a connection only by losing an idle one, or goes to Overflow; others are served.
func TestAClientHasItsShare(t *testing.T) {
	b := NewBudget(3, nil, nil)
	b.LimitClients(2)
	var passedOn []net.Conn
	b.Overflow(func(c net.Conn) { passedOn = append(passedOn, c) })
	arrive := func(from string) *budgetConn {
		server, _ := net.Pipe()
		c, _ := b.admit(addressed{server, net.TCPAddr{IP: net.ParseIP(from)}}).(*budgetConn)
		return c
	}
	first := arrive("10.0.0.1")
	if first == nil || arrive("10.0.0.1") == nil {
		t.Fatal("a client does not get its share")
	}
	if arrive("10.0.0.1") != nil || len(passedOn) != 1 {
		t.Errorf("a third connection of one client is served, or did not go to Overflow: %v", passedOn)
	}
	b.ConnState(first, http.StateIdle)
	if arrive("10.0.0.1") == nil {
		t.Error("a client does not get a connection for its own idle one")
	}
	other := arrive("10.0.0.2")
	if other == nil {
		t.Fatal("another client is not served")
	}
	if arrive("10.0.0.2") != nil || len(passedOn) != 2 {
		t.Error("a fourth connection is served")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if len(b.open) != 2 || len(b.shares.of) != 1 {
		t.Errorf("%d connections are counted, of %d clients; want 2 of 1", len(b.open), len(b.shares.of))
	}
}

// A server may know a connection under several layers, for instance of TLS and of the fast path.
func TestStatesAreToldThroughAllLayers(t *testing.T) {
	b := NewBudget(1, nil, nil)
	_, server := net.Pipe()
	c := b.admit(server).(*budgetConn)
	defer c.Close()
	b.ConnState(layer{layer{c}}, http.StateIdle)
	if b.countIdle() != 1 || c.idle.Load() == fresh {
		t.Error("an idle connection under two layers counts as one that is not idle")
	}
	p := NewPool(PoolOptions{Most: 1})
	first, second := callFrom("10.0.0.1"), callFrom("10.0.0.1")
	LeavePool(PoolContext(t.Context(), layer{layer{p.Take(first)}}))
	p.Take(second)
	if first.cut() {
		t.Error("a connection under two layers cannot leave the pool")
	}
}

// layer is a connection around another.
type layer struct{ net.Conn }

func (l layer) NetConn() net.Conn { return l.Conn }

// addressed is a connection from an address.
type addressed struct {
	net.Conn
	from net.TCPAddr
}

func (a addressed) RemoteAddr() net.Addr { return &a.from }
