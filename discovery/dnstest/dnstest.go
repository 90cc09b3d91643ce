// Package dnstest is a DNS server for tests. It answers with given records, and
// fails for given names.
package dnstest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is a DNS server that runs until the end of its test.
type Server struct {
	Address string // ip:port, UDP

	// mu guards what follows, for the length of one method.
	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name with the final dot; without records: an empty answer
	fails   map[string]int      // an RCODE by name
}

// Start serves a zone on an address, ip:port, where port 0 is any free one. A
// line of the zone is a record without its class and time to live, such as
// "infra0.example.com A 10.0.0.1", or "infra0.example.com empty" for a name
// without records.
func Start(t testing.TB, address, zone string) *Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: conn.LocalAddr().String(), records: map[string][]dns.RR{}, fails: map[string]int{}}
	s.Add(t, zone)
	started, ended := make(chan struct{}), make(chan error, 1)
	server := &dns.Server{PacketConn: conn, Handler: s, NotifyStartedFunc: func() { close(started) }}
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		server.Shutdown() // fails if it has ended, which is reported below
		if err := <-ended; err != nil {
			t.Errorf("the DNS server: %v", err)
		}
	})
	return s
}

// Add adds the records of a zone.
func (s *Server) Add(t testing.TB, zone string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(zone) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		name := dns.Fqdn(strings.ToLower(fields[0]))
		if fields[1] == "empty" {
			s.records[name] = nil
			continue
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s 1 IN %s", name, strings.Join(fields[1:], " ")))
		if err != nil {
			t.Fatal(err)
		}
		s.records[name] = append(s.records[name], rr)
	}
}

// Fail makes the server answer with an RCODE for a name; 0: as before.
func (s *Server) Fail(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[dns.Fqdn(name)] = rcode
}

// ServeDNS answers one question.
func (s *Server) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetReply(request)
	answer.RecursionAvailable = true // else an empty answer would be a referral
	question := request.Question[0]  // the library refuses requests without one
	name := strings.ToLower(question.Name)
	records, known := s.records[name]
	switch {
	case s.fails[name] != 0:
		answer.Rcode = s.fails[name]
	case !known:
		answer.Rcode = dns.RcodeNameError
	}
	for _, r := range records {
		if r.Header().Rrtype == question.Qtype && answer.Rcode == dns.RcodeSuccess {
			answer.Answer = append(answer.Answer, r)
		}
	}
	w.WriteMsg(answer) // a client that has left asks again
}

// Resolver uses only this server.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.Address)
	}}
}
