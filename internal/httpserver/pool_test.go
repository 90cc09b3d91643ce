package httpserver

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// caller is the server's side of a connection from an address.
type caller struct {
	net.Conn
	from net.Addr
	done atomic.Bool
}

func (c *caller) cut() bool { return c.done.Load() }

func (c *caller) RemoteAddr() net.Addr { return c.from }

func (c *caller) Close() error {
	c.done.Store(true)
	return nil
}

func callFrom(address string) *caller {
	return &caller{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
}

// cut gives the numbers of the connections that were closed.
func cut(calls []*caller) []int {
	var numbers []int
	for n, c := range calls {
		if c.cut() {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestWhoseConnectionIsClosedForAnother(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perClient int
		known     string // network of those that are preferred
		from      []string
		want      []int
	}{
		{"the oldest, if all have as many", 0, "", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}, []int{0}},
		{"of the client that has the most", 0, "", []string{"10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"}, []int{1}},
		{"its own, again and again", 0, "", []string{"10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.2"}, []int{1, 2}},
		{"a network of IPv6 is one client", 0, "", []string{"10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"}, []int{1}},
		{"not one that is known", 0, "10.0.0.0/24", []string{"10.0.0.1", "10.0.0.1", "10.1.0.1", "10.2.0.1"}, []int{2}},
		{"unless there are no others", 0, "10.0.0.0/8", []string{"10.0.0.1", "10.1.0.1", "10.1.0.1", "10.2.0.1"}, []int{1}},
		{"a client has its limit", 1, "", []string{"10.0.0.1", "10.0.0.2", "10.0.0.2"}, []int{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := 0
			p := NewPool(PoolOptions{Most: 3, PerClient: tt.perClient, Cut: func() { told++ }})
			if tt.known != "" {
				network := netip.MustParsePrefix(tt.known)
				p.Prefer(func(client netip.Prefix) bool { return network.Contains(client.Addr()) })
			}
			var calls []*caller
			for _, from := range tt.from {
				calls = append(calls, callFrom(from))
				p.Take(calls[len(calls)-1])
			}
			if got := cut(calls); len(got) != len(tt.want) || got[0] != tt.want[0] || got[len(got)-1] != tt.want[len(got)-1] || told != len(got) {
				t.Errorf("connections %v were closed, want %v; %d were told of", got, tt.want, told)
			}
		})
	}
}

// A connection that has identified itself takes no slot until it is idle.
func TestAConnectionThatLeftThePoolIsNotClosed(t *testing.T) {
	p := NewPool(PoolOptions{Most: 1})
	member, second, third := callFrom("10.0.0.1"), callFrom("10.0.0.1"), callFrom("10.0.0.1")
	c := p.Take(member)
	LeavePool(PoolContext(context.Background(), c))
	p.Take(second)
	p.Take(third)
	if member.cut() || !second.cut() || third.cut() {
		t.Errorf("closed: the member's %v, the second %v, the third %v", member.cut(), second.cut(), third.cut())
	}
	p.ConnState(c, http.StateIdle)
	if !third.cut() || member.cut() {
		t.Errorf("a connection that is idle again has no slot: closed %v and %v", third.cut(), member.cut())
	}
	p.Take(callFrom("10.0.0.2"))
	if !member.cut() {
		t.Error("a connection that is idle again is never closed")
	}
	p.ConnState(c, http.StateIdle)
	if p.taken.Len() != 1 || len(p.count) != 1 {
		t.Errorf("%d slots are taken by %v, want 1", p.taken.Len(), p.count)
	}
}

func TestAConnectionWithoutARequestIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(PoolOptions{Most: 3, Timeout: 2 * time.Second})
		silent, asking, leaving := callFrom("10.0.0.1"), callFrom("10.0.0.1"), callFrom("10.0.0.1")
		p.Take(silent)
		p.ConnState(p.Take(asking), http.StateActive)
		LeavePool(PoolContext(t.Context(), p.Take(leaving)))
		time.Sleep(1999 * time.Millisecond) // of simulated time
		synctest.Wait()
		if silent.cut() {
			t.Error("it is closed too early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !silent.cut() || asking.cut() || leaving.cut() {
			t.Errorf("closed: silent %v, asking %v, a member's %v", silent.cut(), asking.cut(), leaving.cut())
		}
	})
}
