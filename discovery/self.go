package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// NotListedError says that no record leads to this member.
type NotListedError struct {
	Name       string
	Advertised []string // where this member says that it is
	Listed     []string // where the records lead
}

// Error says what was compared.
func (e *NotListedError) Error() string {
	return fmt.Sprintf("cannot find local etcd member %q in SRV records: it advertises %s, and the records lead to %s",
		e.Name, strings.Join(e.Advertised, ","), strings.Join(e.Listed, ","))
}

// Cluster gives the peer URLs of all members by name, with the given name for
// this member, which is found by where its advertised URLs lead (B39). The
// URLs are those of the records (B40). A record whose target does not resolve
// is waited for (B41).
func (s SRV) Cluster(ctx context.Context, name string, advertised []string) (map[string][]string, error) {
	var self int
	hosts, err := s.await(ctx, func() (hosts []host, err error) {
		if hosts, err = s.look(ctx, "etcd-server"); err != nil {
			return nil, err
		}
		self, err = s.self(ctx, hosts, name, advertised)
		return hosts, err
	})
	if err != nil {
		return nil, err
	}
	cluster := map[string][]string{}
	other := 0
	for i, h := range hosts {
		member := name
		if i != self {
			if member = strconv.Itoa(other); member == name {
				other++
				member = strconv.Itoa(other)
			}
			other++
		}
		cluster[member] = h.urls()
		s.Log.Infof("got bootstrap from DNS for etcd-server at %s", strings.Join(cluster[member], ","))
	}
	return cluster, nil
}

// self finds this member among the hosts of the records.
func (s SRV) self(ctx context.Context, hosts []host, name string, advertised []string) (int, error) {
	where, err := s.addresses(ctx, hosts)
	if err != nil {
		return 0, err
	}
	own, err := s.own(ctx, advertised)
	if err != nil {
		return 0, err
	}
	var mine []int
	var listed []string
	for i, h := range hosts {
		listed = append(listed, h.urls()...)
		if slices.ContainsFunc(own, func(l location) bool { return l.leadsTo(h, where[i]) }) {
			mine = append(mine, i)
		}
	}
	switch len(mine) {
	case 0:
		return 0, &NotListedError{name, advertised, listed}
	case 1:
		return mine[0], s.verify(hosts[mine[0]], where[mine[0]], own, advertised)
	}
	return 0, &RecordsError{s.Domain, fmt.Sprintf("both %s and %s lead to this member, %s; list a member under one host name",
		hosts[mine[0]].name, hosts[mine[1]].name, strings.Join(advertised, ","))}
}

// addresses resolves all hosts. Two names for one place would be two members
// for others and one for itself.
func (s SRV) addresses(ctx context.Context, hosts []host) ([][]netip.Addr, error) {
	where := make([][]netip.Addr, len(hosts))
	taken := map[netip.AddrPort]string{}
	for i, h := range hosts {
		found, err := s.resolve(ctx, h.name+".")
		if err != nil {
			return nil, &unsureError{fmt.Errorf("the target %s of an SRV record of %s does not resolve: %w", h.name, s.Domain, err)}
		}
		where[i] = found
		for _, e := range h.at {
			for _, a := range found {
				place := netip.AddrPortFrom(a, e.port)
				if other := taken[place]; other != "" && other != h.name {
					return nil, &RecordsError{s.Domain, fmt.Sprintf("%s and %s both lead to %s; list a member under one host name", other, h.name, place)}
				}
				taken[place] = h.name
			}
		}
	}
	return where, nil
}

// location is where an advertised URL leads.
type location struct {
	scheme, host string
	port         uint16
	at           []netip.Addr
}

func (l location) leadsTo(h host, where []netip.Addr) bool {
	return slices.ContainsFunc(h.at, func(e endpoint) bool { return e.port == l.port }) &&
		slices.ContainsFunc(l.at, func(a netip.Addr) bool { return slices.Contains(where, a) })
}

// own resolves the advertised URLs. A name that is not there is an error for
// good (B39).
func (s SRV) own(ctx context.Context, advertised []string) ([]location, error) {
	var all []location
	for _, text := range advertised {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("the advertised peer URL %s has no port: %w", text, err)
		}
		at, err := s.resolve(ctx, u.Hostname())
		if missing := (*net.DNSError)(nil); errors.As(err, &missing) && missing.IsNotFound {
			return nil, fmt.Errorf("the advertised peer URL %s does not resolve: %w", text, err)
		}
		if err != nil {
			return nil, &unsureError{fmt.Errorf("the advertised peer URL %s does not resolve: %w", text, err)}
		}
		all = append(all, location{u.Scheme, strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), uint16(port), at})
	}
	return all, nil
}

// resolve gives the addresses of a name, or of an address. localhost is this
// machine whatever DNS says.
func (s SRV) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if strings.TrimSuffix(name, ".") == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(name, ".")); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	found, err := s.Resolver.LookupNetIP(ctx, "ip", name)
	for i := range found {
		found[i] = found[i].Unmap().WithZone("")
	}
	return found, err
}

// verify makes sure that what a member advertises is what the records say of
// it: others will dial those, and with another scheme or on other ports would
// not find it.
func (s SRV) verify(h host, where []netip.Addr, own []location, advertised []string) error {
	wrong := func(reason string) error {
		return &RecordsError{s.Domain, fmt.Sprintf("they list this member as %s, and it advertises %s: %s",
			strings.Join(h.urls(), ","), strings.Join(advertised, ","), reason)}
	}
	named := false
	for _, l := range own {
		named = named || l.host == h.name
		at := slices.IndexFunc(h.at, func(e endpoint) bool { return e.port == l.port })
		switch {
		case at < 0 || !l.leadsTo(h, where):
			return wrong("all URLs of a member must be listed, under one host name")
		case h.at[at].scheme != l.scheme:
			return wrong("scheme mismatch with expected peer")
		}
	}
	for _, e := range h.at {
		if !slices.ContainsFunc(own, func(l location) bool { return l.port == e.port }) {
			return wrong("the records of one host name are one member; give each member a name of its own")
		}
	}
	if !named && severalMachines(where) {
		return wrong(h.name + " has several addresses, which may be several machines; give each member a name of its own, or advertise this name")
	}
	return nil
}

// severalMachines reports whether a name has more than one address of a kind.
func severalMachines(addresses []netip.Addr) bool {
	four := 0
	for _, a := range addresses {
		if a.Is4() {
			four++
		}
	}
	return four > 1 || len(addresses)-four > 1
}
