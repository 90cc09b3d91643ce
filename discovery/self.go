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

// NotListedError tells that no record has an address of this member.
type NotListedError struct {
	Name       string
	Advertised []string // URLs that this member advertises
	Listed     []string // URLs of the records
}

// Error names what was compared.
func (e *NotListedError) Error() string {
	return fmt.Sprintf("cannot find local etcd member %q in SRV records: it advertises %s, and the records lead to %s",
		e.Name, strings.Join(e.Advertised, ","), strings.Join(e.Listed, ","))
}

// self finds this member among those of the records.
func (s SRV) self(ctx context.Context, members []member, name string, advertised []string) (int, error) {
	own, err := s.own(ctx, advertised)
	if err != nil {
		return 0, err
	}
	var mine []int
	var listed []string
	for i, m := range members {
		listed = append(listed, m.urls()...)
		if slices.ContainsFunc(own, func(l location) bool { return l.leadsTo(m) }) {
			mine = append(mine, i)
		}
	}
	switch len(mine) {
	case 0:
		return 0, &NotListedError{name, advertised, listed}
	case 1:
		return mine[0], s.verify(members[mine[0]], own, advertised)
	}
	return 0, &RecordsError{s.Domain, fmt.Sprintf("both %s and %s lead to this member, %s; list a member at one address",
		members[mine[0]][0].name, members[mine[1]][0].name, strings.Join(advertised, ","))}
}

// location is the addresses of an advertised URL.
type location struct {
	scheme, host string
	port         uint16
	at           []netip.Addr
}

func (l location) leadsTo(m member) bool {
	return m.endpoint(l.port) != nil && slices.ContainsFunc(l.at, func(a netip.Addr) bool { return slices.Contains(m[0].addresses, a) })
}

// own resolves the advertised URLs. A name that does not exist is a permanent
// error (B39).
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
// machine whatever DNS answers.
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

// verify checks that the advertised URLs of this member are those of its records:
// others dial the latter, and with another scheme or port would not reach it.
func (s SRV) verify(m member, own []location, advertised []string) error {
	wrong := func(reason string) error {
		return &RecordsError{s.Domain, fmt.Sprintf("they list this member as %s, and it advertises %s: %s",
			strings.Join(m.urls(), ","), strings.Join(advertised, ","), reason)}
	}
	for _, l := range own {
		switch {
		case !l.leadsTo(m):
			return wrong("all URLs of a member must be listed, at one address")
		case m.endpoint(l.port).scheme != l.scheme:
			return wrong("scheme mismatch with expected peer")
		}
	}
	named := false
	for _, h := range m {
		named = named || slices.ContainsFunc(own, func(l location) bool { return l.host == h.name })
		for _, e := range h.at {
			if !slices.ContainsFunc(own, func(l location) bool { return l.port == e.port }) {
				return wrong("the records that lead to one address are one member; give each member an address of its own")
			}
		}
	}
	if !named && severalMachines(m[0].addresses) {
		return wrong(m[0].name + " has several addresses, which may be several machines; give each member a name of its own, or advertise this name")
	}
	return nil
}

// severalMachines tells whether a name has more than one address of a kind.
func severalMachines(addresses []netip.Addr) bool {
	four := 0
	for _, a := range addresses {
		if a.Is4() {
			four++
		}
	}
	return four > 1 || len(addresses)-four > 1
}
