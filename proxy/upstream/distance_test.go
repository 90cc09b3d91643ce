package upstream

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canopy/proxy/clustertest"
)

// far is a server that answers after a delay, like a distant one.
func far(t testing.TB, delay *atomic.Int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(time.Duration(delay.Load()))
		defer timer.Stop()
		<-timer.C
		clustertest.Versioned(clustertest.OK)(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// farCluster is servers that answer after these delays, and a peer URL that names them all.
func farCluster(t testing.TB, delays ...time.Duration) (peer string, urls []string, change []*atomic.Int64) {
	t.Helper()
	for _, d := range delays {
		delay := &atomic.Int64{}
		delay.Store(int64(d))
		urls, change = append(urls, far(t, delay)), append(change, delay)
	}
	return clustertest.Peer(t, 1, func() []string { return urls }).URL, urls, change
}

func elsewhere(o *Options) { o.isHere = func(net.Conn) bool { return false } }

const distant = 60 * time.Millisecond // more than a delay by other work of this machine

// P45: distant endpoints come last, and each of the others is the first choice of some proxy.
func TestTheNearestAreChosen(t *testing.T) {
	peer, urls, _ := farCluster(t, 0, 2*distant, 0)
	firsts := map[string]bool{}
	clustertest.Eventually(t, "each near endpoint to be chosen by a proxy", func() bool {
		s := newSite(t, []string{peer}, elsewhere).await(3)
		defer s.stop()
		clustertest.Eventually(t, "the far endpoint to be the last choice", func() bool { return s.available()[2] == urls[1] })
		firsts[s.available()[0]] = true
		return len(firsts) == 2
	})
}

// P45: a proxy keeps its choice, unless another endpoint is clearly nearer for a long time.
func TestADistanceThatGrows(t *testing.T) {
	peer, urls, delays := farCluster(t, distant/3, distant/3)
	s := newSite(t, []string{peer}, elsewhere, func(o *Options) { o.FailureWait = 120 * time.Millisecond }).await(2)
	before := slices.Index(urls, s.available()[0])
	delays[before].Store(int64(4 * distant))
	clustertest.Eventually(t, "the nearer endpoint to be chosen", func() bool { return s.available()[0] == urls[1-before] })
	clustertest.Eventually(t, "the log to tell of the change", func() bool { return strings.Contains(s.log.String(), "which is nearer") })
	delays[before].Store(int64(distant / 3))
	for range 5 { // as near as the other one again: no reason to change
		e := s.Endpoints()[1]
		probed := e.answered.Load()
		clustertest.Eventually(t, "a probe", func() bool { return e.answered.Load() != probed })
		if got := s.available()[0]; got != urls[1-before] {
			t.Fatalf("the choice went back to %s", got)
		}
	}
}

// P45: a member on the same host comes before one that answers sooner.
func TestTheMemberOfTheSameHostIsChosen(t *testing.T) {
	peer, urls, _ := farCluster(t, 0, distant, 0)
	own := strings.TrimPrefix(urls[1], "http://")
	s := newSite(t, []string{peer}, func(o *Options) {
		o.isHere = func(c net.Conn) bool { return c.RemoteAddr().String() == own }
	}).await(3)
	clustertest.Eventually(t, "the member of this host to be chosen", func() bool { return s.available()[0] == urls[1] })
	c, err := net.Dial("tcp", own)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !isHere(c) || isHere(noAddresses{c}) {
		t.Error("a connection to a loopback address is here, and one of which nothing is known is not")
	}
}

// noAddresses is a connection without addresses.
type noAddresses struct{ io.ReadWriteCloser }

func (noAddresses) LocalAddr() net.Addr              { return nil }
func (noAddresses) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (noAddresses) SetDeadline(time.Time) error      { return nil }
func (noAddresses) SetReadDeadline(time.Time) error  { return nil }
func (noAddresses) SetWriteDeadline(time.Time) error { return nil }

// after gives a distance after probes, a quarter of a span apart, whose answers took these times in milliseconds.
func after(took ...float64) *distance {
	d, now := &distance{}, time.Unix(0, 0)
	for _, ms := range took {
		d.measure(false, time.Duration(ms*float64(time.Millisecond)), now, 4*time.Second)
		now = now.Add(time.Second)
	}
	return d
}

func TestDistances(t *testing.T) {
	for name, each := range map[string]struct {
		near, other *distance
		nearer      bool
	}{
		"at the first probe":         {after(1), after(4), true},
		"not clearly":                {after(1), after(3), false},
		"less than the margin":       {after(0.1), after(1.1), false},
		"nothing is known of it":     {after(), after(9), false},
		"nothing is known of other":  {after(1), after(), false},
		"other was slow for a while": {after(1, 1, 1, 1, 1, 1, 1, 1), after(1, 9, 9, 9, 9, 9, 9, 9), false},
		"other is slow for long":     {after(1, 1, 1, 1, 1, 1, 1, 1), after(9, 9, 9, 9, 9, 9, 9, 9), true},
		"other was quick once":       {after(1, 1, 1, 1, 1, 1, 1, 1), after(9, 9, 9, 9, 9, 2, 9, 9), false},
		"it was quick once":          {after(9, 9, 9, 9, 9, 1, 9, 9), after(9, 9, 9, 9, 9, 9, 9, 9), false},
		"it is quicker for long":     {after(9, 9, 9, 9, 1, 9, 9, 9, 1, 9), after(9, 9, 9, 9, 9, 9, 9, 9, 9, 9), true},
	} {
		if got := each.near.isNearerThan(each.other); got != each.nearer {
			t.Errorf("%s: %v", name, got)
		}
		if each.nearer && each.other.isNearerThan(each.near) {
			t.Errorf("%s: each is nearer than the other", name)
		}
	}
}

// For all distances, the order is correct, has all endpoints, and does not change any more once it is correct.
func TestArranged(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		var list []*Endpoint
		for range 1 + random.IntN(6) {
			e := &Endpoint{}
			for range random.IntN(4) {
				e.distance.measure(random.IntN(4) == 0, time.Duration(random.IntN(12))*time.Millisecond, time.Unix(random.Int64N(3), 0), time.Second)
			}
			list = append(list, e)
		}
		order := arranged(list)
		for n, e := range order {
			if !slices.Contains(list, e) || slices.Contains(order[:n], e) || len(order) != len(list) {
				t.Fatalf("seed %d: endpoints were lost or doubled", seed)
			}
			if slices.ContainsFunc(order[n:], func(later *Endpoint) bool { return later.distance.isNearerThan(&e.distance) }) {
				t.Fatalf("seed %d: one comes after one that it is nearer than", seed)
			}
		}
		if !slices.Equal(arranged(order), order) {
			t.Fatalf("seed %d: the order changes by itself", seed)
		}
	}
}
