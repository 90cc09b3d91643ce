package discovery

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameServer is a DNS server on loopback. It answers with the records it has,
// and fails for names that it is told to fail for.
type nameServer struct {
	address string

	// mu guards what follows.
	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name with the final dot; there without records: an empty answer
	fails   map[string]int      // how to fail, an RCODE, by name
}

func newNameServer(t *testing.T, zone string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{address: conn.LocalAddr().String(), records: map[string][]dns.RR{}, fails: map[string]int{}}
	n.set(t, zone)
	started, ended := make(chan struct{}), make(chan error, 1)
	server := &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(started) }}
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		server.Shutdown()
		if err := <-ended; err != nil {
			t.Errorf("the DNS server: %v", err)
		}
	})
	return n
}

// set adds the records of a zone: a line each, "name empty" for an empty answer.
func (n *nameServer) set(t *testing.T, zone string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for line := range strings.Lines(zone) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name := dns.Fqdn(strings.ToLower(fields[0]))
		if fields[1] == "empty" {
			n.records[name] = nil
			continue
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s 60 IN %s", name, strings.Join(fields[1:], " ")))
		if err != nil {
			t.Fatal(err)
		}
		n.records[name] = append(n.records[name], rr)
	}
}

// fail has the server answer with an RCODE for a name; 0 has it answer as before.
func (n *nameServer) fail(name string, rcode int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails[dns.Fqdn(name)] = rcode
}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetReply(request)
	answer.RecursionAvailable = true // else an empty answer is taken for a referral
	question := request.Question[0]
	name := strings.ToLower(question.Name)
	records, known := n.records[name]
	switch rcode := n.fails[name]; {
	case rcode != 0:
		answer.Rcode = rcode
	case !known:
		answer.Rcode = dns.RcodeNameError
	}
	for _, r := range records {
		if r.Header().Rrtype == question.Qtype {
			answer.Answer = append(answer.Answer, r)
		}
	}
	w.WriteMsg(answer) // a client that is gone asks again
}

// resolver asks this server and no other.
func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.address)
	}}
}

// script is what happens at each pause, one function after the other; after the
// last one the pauses end the wait with an error. It remembers how long they were.
type script struct {
	steps []func()
	took  []time.Duration
}

func (s *script) pause(_ context.Context, d time.Duration) error {
	s.took = append(s.took, d)
	if len(s.steps) < len(s.took) {
		return errPatience
	}
	s.steps[len(s.took)-1]()
	return nil
}

// errPatience ends a wait that would not end.
var errPatience = fmt.Errorf("the test has waited long enough")

// lines keeps what was logged.
type lines struct {
	mu   sync.Mutex // guards text
	text []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, args...))
}

func (l *lines) Infof(format string, args ...any) { l.add(format, args...) }
func (l *lines) Warnf(format string, args ...any) { l.add(format, args...) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}
