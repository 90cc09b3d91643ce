package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"canopy/client"
)

// Whatever a token contains is either a list of members that a cluster can have,
// or refused.
func FuzzRegistry(f *testing.F) {
	f.Add(`{"dir":true,"nodes":[{"key":"/t/1a","value":"m1=http://a:1","createdIndex":5},{"key":"/t/b","value":"m2=http://b:1","createdIndex":4}]}`)
	f.Add(`{"dir":true,"nodes":[{"key":"/t/1a","value":"m1=http://a:1"},{"key":"/t/01a","value":"m2=http://b:1"}]}`)
	f.Add(`{"dir":true,"nodes":[{"key":"","dir":true}]}`)
	f.Add(`{"value":"m1=http://a:1"}`)
	d := &directory{}
	f.Fuzz(func(t *testing.T, text string) {
		list := &client.Response{}
		if err := json.Unmarshal([]byte(text), &list.Node); err != nil || list.Node != nil && slices.Contains(list.Node.Nodes, nil) {
			return // the client refuses it
		}
		r, err := d.registry(3, list)
		if err != nil {
			return
		}
		peers, err := d.peers(r.first())
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range peers {
			if p.ID == 0 || p.Name == "" || len(p.PeerURLs) == 0 || seen[p.Name] || strings.ContainsAny(p.Name, ",=") {
				t.Errorf("%q gives the peers %v", text, peers)
			}
			seen[p.Name] = true
		}
		if len(peers) > 3 || r.complete() != (len(peers) == 3) {
			t.Errorf("%q gives %d peers of 3, complete: %v", text, len(peers), r.complete())
		}
	})
}

// FuzzRecords: whatever records a domain has, they are members that a cluster can have, or they are refused. Each line is a
// record: the kind, the target and the port. A target is an address, or a name that the host of the test knows.
func FuzzRecords(f *testing.F) {
	f.Add("s 10.0.0.1. 2380\np 10.0.0.2 2380\np localhost. 7001")
	f.Add("s 10.0.0.1 2380\np 10.0.0.1. 2380")
	f.Add("p ::1 1\np 127.0.0.1 2\np LOCALHOST 1")
	f.Add("p . 0\np 10.0.0.1 0")
	f.Fuzz(func(t *testing.T, text string) {
		found := map[string][]endpoint{}
		for line := range strings.Lines(text) {
			var kind, target string
			var port uint16
			if n, err := fmt.Sscan(line, &kind, &target, &port); n != 3 || err != nil {
				continue
			}
			scheme := "http"
			if kind == "s" {
				scheme = "https"
			}
			gather(found, scheme, []*net.SRV{{Target: target, Port: port}})
		}
		offline := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("offline") }}
		s := SRV{Domain: "example.com", Resolver: offline, Log: &lines{}}
		hosts, err := s.arrange(found)
		if err == nil {
			err = s.locate(t.Context(), hosts)
		}
		if err != nil {
			return
		}
		members, err := s.group(hosts)
		if err != nil {
			return
		}
		speaks := map[netip.AddrPort]string{}
		count := 0
		for _, m := range members {
			count += len(m)
			for _, h := range m {
				for _, e := range h.at {
					for _, a := range h.addresses {
						at := netip.AddrPortFrom(a, e.port)
						if other := speaks[at]; e.port == 0 || other != "" && other != e.scheme {
							t.Errorf("%q: %s is dialled as %s and as %s", text, at, e.scheme, other)
						}
						speaks[at] = e.scheme
					}
				}
			}
		}
		if count != len(hosts) || len(hosts) != len(found) {
			t.Errorf("%q: of %d targets %d hosts are members", text, len(found), count)
		}
	})
}
