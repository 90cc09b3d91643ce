package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/proxy/clustertest"
)

// An unavailable endpoint is logged each minute, with the reason, until it is available again.
func TestUnavailableEndpointsAreToldEachMinute(t *testing.T) {
	peer, _ := clustertest.Start(t, clustertest.OK)
	s := newSite(t, []string{peer}).await(1)
	s.stop() // nobody else reminds
	e := s.Endpoints()[0]
	e.outage.Store(&Outage{Reason: "it does not answer"})
	begin := time.Now()
	for _, at := range []time.Duration{0, 59, 60, 61, 119, 120} {
		s.remind(begin.Add(at * time.Second))
	}
	e.outage.Store(nil)
	s.remind(begin.Add(181 * time.Second))
	for line, want := range map[string]int{"is still unavailable": 2, e.URL + " is still unavailable, for 1m0s: it does not answer": 1, "for 2m0s": 1} {
		if n := strings.Count(s.log.String(), line); n != want {
			t.Errorf("%q was logged %d times, want %d:\n%s", line, n, want, s.log)
		}
	}
}

// An endpoint without a quorum is better than none, but comes after all others.
func TestTheLastChoice(t *testing.T) {
	dead, last, second, available := &Endpoint{URL: "dead"}, &Endpoint{URL: "last"}, &Endpoint{URL: "second"}, &Endpoint{URL: "available"}
	dead.outage.Store(&Outage{})
	last.outage.Store(&Outage{answers: true})
	second.unproven.Store(true)
	var list endpointList
	list.current.Store(&[]*Endpoint{dead, last, second, available})
	for _, want := range []*Endpoint{available, second, last, nil} {
		var tried []*Endpoint
		for _, e := range []*Endpoint{available, second, last} {
			if e == want {
				break
			}
			tried = append(tried, e)
		}
		if got := list.next(tried); got != want {
			t.Errorf("after %d were tried: %v", len(tried), got)
		}
	}
}

// If all were restarted a moment ago, the one that is about to stop now comes last.
func TestAStoppingMemberComesLast(t *testing.T) {
	o := Options{}.withDefaults()
	now := o.now() + int64(time.Minute)
	stopping, first, added := &Endpoint{URL: "stopping", o: &o}, &Endpoint{URL: "first", o: &o}, &Endpoint{URL: "added", o: &o}
	stopping.stopping.Store(now)
	first.stopping.Store(now - int64(time.Second))
	added.unproven.Store(true)
	var list endpointList
	list.current.Store(&[]*Endpoint{stopping, first, added})
	var tried []*Endpoint
	for _, want := range []*Endpoint{added, first, stopping} {
		if got := list.next(tried); got != want {
			t.Errorf("after %d were tried: %v", len(tried), got)
		}
		tried = append(tried, want)
	}
}

// P17: a probe that began before an endpoint became unavailable does not make it available.
func TestAnOldProbeChangesNothing(t *testing.T) {
	_, members := clustertest.Start(t, clustertest.OK, clustertest.OK)
	peer := clustertest.Peer(t, 1, func() []string { return []string{members[0].URL, members[1].URL} }).URL
	s := newSite(t, []string{peer}, func(o *Options) { o.FailureWait = time.Hour }).await(2)
	e := s.Endpoints()[0]
	old := verdict{endpoint: e, outage: e.outage.Load(), ready: true}
	s.MarkUnavailable(e, "no response")
	s.judge([]verdict{old})
	if e.outage.Load() == nil {
		t.Error("an old verdict made it available")
	}
	s.judge([]verdict{{endpoint: e, outage: e.outage.Load(), ready: true}})
	if e.outage.Load() != nil {
		t.Error("a later verdict did not make it available")
	}
}

// While no other endpoint is available, watches stay: their member may recover.
func TestWatchesStayWithoutAnotherEndpoint(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		conn, err := echo.Accept()
		if err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	u, err := New(Options{FS: disk.NewMem(), Dir: "/data/proxy", Log: (&clustertest.Log{}).Logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.list.replace([]string{"http://" + echo.Addr().String(), "http://127.0.0.1:1"}, &u.o); err != nil {
		t.Fatal(err)
	}
	failed, other := u.Endpoints()[0], u.Endpoints()[1]
	if failed.address != echo.Addr().String() {
		failed, other = other, failed
	}
	watch, err := failed.Dial(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	failed.Hold(watch)
	u.MarkUnavailable(failed, "a test says so")
	u.MarkUnavailable(other, "a test says so")
	u.moveWatches([]*Endpoint{failed})
	if _, err := watch.Send([]byte("x")); err != nil {
		t.Fatalf("the watch was broken: %v", err)
	}
	if b, err := watch.in.ReadByte(); err != nil || b != 'x' {
		t.Fatalf("the watch was broken: %q, %v", b, err)
	}
	other.outage.Store(nil)
	u.moveWatches([]*Endpoint{failed})
	if _, err := watch.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the watch stays, though another endpoint is available: %v", err)
	}
}
