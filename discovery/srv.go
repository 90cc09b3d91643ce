package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// SRV finds members in the SRV records of a domain: those of
// _etcd-server-ssl._tcp speak https, those of _etcd-server._tcp http, and both
// add up (B37). Priority and weight do not matter (B38). All records that lead
// to one address are one member, under however many names and ports; so the
// members are the same in the eyes of all who see the same records (B42, B44).
type SRV struct {
	Domain   string        // the records are those of this domain
	Suffix   string        // a part of the records' names, "" for none: _etcd-server-<suffix> (F50)
	Resolver *net.Resolver // required
	Waiting  Waiting       // nil: nobody is told
	Pause    Pause         // nil: the real clock
	Log      Log           // required
}

// NoRecordsError says that a domain has no SRV records of the kind.
type NoRecordsError struct {
	Names []string // what was looked up
	Err   error    // what DNS said last, nil if it gave an empty answer
}

// Error names what was looked up.
func (e *NoRecordsError) Error() string {
	text := "SRV discovery failed: there are no records " + strings.Join(e.Names, " or ")
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives what DNS said.
func (e *NoRecordsError) Unwrap() error { return e.Err }

// RecordsError says what is wrong with records, in a way that waiting does not mend.
type RecordsError struct {
	Domain string
	Reason string
}

// Error gives the domain and the reason.
func (e *RecordsError) Error() string {
	return fmt.Sprintf("SRV discovery failed: the records of %s cannot be used: %s", e.Domain, e.Reason)
}

// Peers gives the peer URLs of all members, sorted: what a proxy needs, which
// is no member itself.
func (s SRV) Peers(ctx context.Context) ([]string, error) { return s.urls(ctx, "etcd-server") }

// Clients gives the client URLs of the domain, from its _etcd-client-ssl._tcp
// and _etcd-client._tcp records, sorted (B38).
func (s SRV) Clients(ctx context.Context) ([]string, error) { return s.urls(ctx, "etcd-client") }

func (s SRV) urls(ctx context.Context, service string) ([]string, error) {
	hosts, err := s.await(ctx, func() ([]host, error) { return s.look(ctx, service) })
	var urls []string
	for _, h := range hosts {
		urls = append(urls, h.urls()...)
	}
	slices.Sort(urls)
	return urls, err
}

// await tries until there is an answer to go by; what is wrong for good is an
// answer, too.
func (s SRV) await(ctx context.Context, try func() ([]host, error)) ([]host, error) {
	again := backoff{pause: s.Pause, waiting: s.Waiting}
	for {
		hosts, err := try()
		if !isUnsure(err) {
			again.reset(s.Log)
			return hosts, err
		}
		if err := again.wait(ctx, s.Log, err); err != nil {
			return nil, err
		}
	}
}

// host is a name that records lead to.
type host struct {
	name      string // lower-case, without the final dot
	at        []endpoint
	addresses []netip.Addr // nil before they were looked up
}

// endpoint is one record: how a host is reached.
type endpoint struct {
	scheme string
	port   uint16
}

func (h host) urls() []string {
	var urls []string
	for _, e := range h.at {
		urls = append(urls, e.scheme+"://"+net.JoinHostPort(h.name, strconv.Itoa(int(e.port))))
	}
	return urls
}

// look asks for both kinds of records once, and gives their hosts by name. If
// DNS fails, one kind is not taken for all there is (B43).
func (s SRV) look(ctx context.Context, service string) ([]host, error) {
	found := map[string][]endpoint{}
	none := &NoRecordsError{}
	for _, kind := range []struct{ service, scheme string }{{service + "-ssl", "https"}, {service, "http"}} {
		label := kind.service
		if s.Suffix != "" {
			label += "-" + s.Suffix
		}
		name := "_" + label + "._tcp." + s.Domain
		_, records, err := s.Resolver.LookupSRV(ctx, label, "tcp", s.Domain)
		if missing := (*net.DNSError)(nil); err != nil && (!errors.As(err, &missing) || !missing.IsNotFound) {
			return nil, &unsureError{fmt.Errorf("error querying DNS SRV records %s: %w", name, err)}
		}
		none.Names, none.Err = append(none.Names, name), cmp.Or(err, none.Err)
		for _, r := range records {
			if target := strings.ToLower(strings.TrimSuffix(r.Target, ".")); target != "" { // RFC 2782: "." is nobody
				found[target] = append(found[target], endpoint{kind.scheme, r.Port})
			}
		}
	}
	if len(found) == 0 {
		return nil, none
	}
	return s.arrange(found)
}

// arrange sorts hosts and their endpoints, and refuses a port that cannot be,
// or that is said to speak both with and without TLS.
func (s SRV) arrange(found map[string][]endpoint) ([]host, error) {
	var hosts []host
	for name, at := range found {
		slices.SortFunc(at, func(a, b endpoint) int {
			return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.scheme, b.scheme))
		})
		at = slices.Compact(at)
		if at[0].port == 0 {
			return nil, &RecordsError{s.Domain, name + " is listed with port 0"}
		}
		for i := 1; i < len(at); i++ {
			if at[i].port == at[i-1].port {
				return nil, &RecordsError{s.Domain, fmt.Sprintf("%s is listed both with TLS and without; remove one of the records", net.JoinHostPort(name, strconv.Itoa(int(at[i].port))))}
			}
		}
		hosts = append(hosts, host{name: name, at: at})
	}
	slices.SortFunc(hosts, func(a, b host) int { return cmp.Compare(a.name, b.name) })
	return hosts, nil
}
