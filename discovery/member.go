package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Cluster gives the peer URLs of all members by name, with the given name for
// this member, which is the one whose addresses its advertised URLs have (B39).
// The URLs are those of the records (B40). It waits for a record whose target
// does not resolve (B41).
func (s SRV) Cluster(ctx context.Context, name string, advertised []string) (map[string][]string, error) {
	var members []member
	var self int
	_, err := s.await(ctx, func() (hosts []host, err error) {
		if hosts, err = s.look(ctx, "etcd-server"); err != nil {
			return nil, err
		}
		if err = s.locate(ctx, hosts); err != nil {
			return nil, err
		}
		if members, err = s.group(hosts); err != nil {
			return nil, err
		}
		self, err = s.self(ctx, members, name, advertised)
		return hosts, err
	})
	if err != nil {
		return nil, err
	}
	s.warnOfPlain(members)
	cluster := map[string][]string{}
	other := 0
	for i, m := range members {
		called := name
		if i != self {
			if called = strconv.Itoa(other); called == name {
				other++
				called = strconv.Itoa(other)
			}
			other++
		}
		cluster[called] = m.urls()
		for _, url := range cluster[called] {
			service := "etcd-server"
			if strings.HasPrefix(url, "https:") {
				service = "etcd-server-ssl"
			}
			s.Log.Infof("got bootstrap from DNS for %s at %s", service, url)
		}
	}
	return cluster, nil
}

// warnOfPlain tells that some members have TLS and others do not (T44). It is
// meant, or somebody has added a record: a member sends the store to all others.
func (s SRV) warnOfPlain(members []member) {
	var plain []string
	secure := false
	for _, m := range members {
		for _, url := range m.urls() {
			if strings.HasPrefix(url, "http:") {
				plain = append(plain, url)
			} else {
				secure = true
			}
		}
	}
	if secure && len(plain) > 0 {
		s.Log.Warnf("the records of %s list members with TLS and without: the store is sent unencrypted to %s, whoever that is", s.Domain, strings.Join(plain, ","))
	}
}

// locate looks up the addresses of all hosts, and refuses an address and port
// with records for both http and https.
func (s SRV) locate(ctx context.Context, hosts []host) error {
	speaks := map[netip.AddrPort]string{}
	for i := range hosts {
		h := &hosts[i]
		var err error
		if h.addresses, err = s.resolve(ctx, h.name+"."); err != nil {
			return &unsureError{fmt.Errorf("the target %s of an SRV record of %s does not resolve: %w", h.name, s.Domain, err)}
		}
		for _, e := range h.at {
			for _, a := range h.addresses {
				place := netip.AddrPortFrom(a, e.port)
				if other := speaks[place]; other != "" && other != e.scheme {
					return &RecordsError{s.Domain, fmt.Sprintf("%s is listed both with TLS and without; remove one of the records", place)}
				}
				speaks[place] = e.scheme
			}
		}
	}
	return nil
}

// member is a member in the records: hosts with the same addresses.
type member []host

func (m member) urls() []string {
	var urls []string
	for _, h := range m {
		urls = append(urls, h.urls()...)
	}
	return urls
}

// endpoint gives the records of a port of a member; nil: none.
func (m member) endpoint(port uint16) *endpoint {
	for _, h := range m {
		for i := range h.at {
			if h.at[i].port == port {
				return &h.at[i]
			}
		}
	}
	return nil
}

// group makes members of hosts that are sorted by name (B42). Names that share an
// address but not all addresses may be several machines, each of which would take
// itself for the member.
func (s SRV) group(hosts []host) ([]member, error) {
	var members []member
	byAddress := map[netip.Addr]int{}
	for _, h := range hosts {
		at := len(members)
		for _, a := range h.addresses {
			if known, taken := byAddress[a]; taken {
				at = known
			}
		}
		if at == len(members) {
			members = append(members, nil)
		} else if first := members[at][0]; !sameSet(first.addresses, h.addresses) {
			return nil, &RecordsError{s.Domain, fmt.Sprintf("%s and %s share an address, and have others that they do not share; list a member under one name, or under names that lead to the same addresses", first.name, h.name)}
		}
		members[at] = append(members[at], h)
		for _, a := range h.addresses {
			byAddress[a] = at
		}
	}
	return members, nil
}

func sameSet(x, y []netip.Addr) bool {
	within := func(x, y []netip.Addr) bool {
		return !slices.ContainsFunc(x, func(a netip.Addr) bool { return !slices.Contains(y, a) })
	}
	return within(x, y) && within(y, x)
}
