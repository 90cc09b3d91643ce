package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"canopy/client/membertest"
	"canopy/proxy/clustertest"
)

// A freezer is between a proxy and a member. Once frozen, it accepts connections, but forwards nothing, like a stopped
// process.
type freezer struct {
	url    string
	frozen chan struct{}
}

func newFreezer(t testing.TB, member string) *freezer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{url: "http://" + listener.Addr().String(), frozen: make(chan struct{})}
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.relay(conn, strings.TrimPrefix(member, "http://"), end) })
		}
	})
	t.Cleanup(func() { close(end); listener.Close(); all.Wait() })
	return f
}

func (f *freezer) relay(conn net.Conn, member string, end <-chan struct{}) {
	defer conn.Close()
	up, err := net.Dial("tcp", member)
	if err != nil {
		return
	}
	defer up.Close()
	var both sync.WaitGroup
	gone := make(chan struct{}, 2) // one for each direction
	pass := func(to io.Writer, from net.Conn) {
		buffer := make([]byte, 4<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-f.frozen:
				return
			default:
			}
			if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
				gone <- struct{}{}
				return
			}
		}
	}
	both.Go(func() { pass(conn, up) })
	both.Go(func() { pass(up, conn) })
	select {
	case <-gone:
	case <-f.frozen:
		<-end
	case <-end:
	}
	conn.Close()
	up.Close()
	both.Wait()
}

// frozenSite is a proxy before two members, and the freezer before its first choice.
func frozenSite(t testing.TB, adjust ...func(*Options)) (s *site, first *freezer, cluster *membertest.Cluster) {
	t.Helper()
	cluster = membertest.Start(t, 3)
	var freezers []*freezer
	var urls []string
	for _, m := range cluster.Members {
		f := newFreezer(t, m.ClientURL)
		freezers, urls = append(freezers, f), append(urls, f.url)
	}
	quick := func(o *Options) { o.FailureWait = 100 * time.Millisecond; o.Election = 10 * time.Millisecond }
	s = newSite(t, []string{clustertest.Peer(t, 1, func() []string { return urls }).URL}, append([]func(*Options){quick}, adjust...)...).await(3)
	n := slices.IndexFunc(freezers, func(f *freezer) bool { return f.url == s.cluster.Endpoints()[0].URL })
	return s, freezers[n], cluster
}

// P18, P32, P33: another member continues the watches of a frozen one if nothing was delivered; others are cut. A watch that
// was only requested is answered.
func TestWatchesLeaveAFrozenMember(t *testing.T) {
	s, frozen, cluster := frozenSite(t)
	var waiting []*bufio.Reader
	for _, query := range kinds {
		for range 2 {
			waiting = append(waiting, bufio.NewReader(s.open(soon(t), "/v2/keys/w"+query).Body))
		}
	}
	delivered := bufio.NewReader(s.open(soon(t), "/v2/keys/other"+kinds["a stream"]).Body)
	s.do("PUT", "/v2/keys/other", "value=1")
	if line, err := delivered.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	close(frozen.frozen)
	late := make(chan string, 1)
	go func() {
		a, err := send("GET", s.url+"/v2/keys/w?wait=true&waitIndex=1", "")
		late <- fmt.Sprint(a.body, err)
	}()
	clustertest.Eventually(t, "the frozen endpoint to be unavailable", func() bool { return !slices.Contains(s.available(), frozen.url) })
	if line, err := delivered.ReadString('\n'); err == nil {
		t.Errorf("after the member froze, a stream went on with %q", line)
	}
	if a, err := send("PUT", cluster.Members[0].ClientURL+"/v2/keys/w", "value=while-frozen"); err != nil || a.status != 201 {
		t.Fatal(a, err)
	}
	for n, each := range waiting {
		if line, err := each.ReadString('\n'); err != nil || !strings.Contains(line, `"value":"while-frozen"`) {
			t.Errorf("watch %d: %q, %v", n, line, err)
		}
	}
	if got := <-late; !strings.Contains(got, `"value":"while-frozen"`) {
		t.Errorf("a watch that met the frozen member: %s", got)
	}
}
