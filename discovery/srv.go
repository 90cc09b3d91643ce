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

// SRV finds members in the SRV records of a domain: the records of
// _etcd-server-ssl._tcp are for https, those of _etcd-server._tcp for http, and
// members use both (B37). Who is no member uses the latter only if there are none
// of the former: else whoever can add a record could have it talk without TLS
// (T45). Priority and weight have no effect (B38). All records with
// one address are one member, whatever their names and ports; so all processes
// that get the same records find the same members (B42, B44).
type SRV struct {
	Domain   string        // the records are those of this domain
	Insecure bool          // who is no member uses all records (T45)
	Suffix   string        // a part of the records' names, "" for none: _etcd-server-<suffix> (F50)
	Resolver *net.Resolver // required
	Waiting  Waiting       // nil: not called
	Pause    Pause         // nil: the real clock
	Log      Log           // required
}

// NoRecordsError tells that a domain has no SRV records of the kind.
type NoRecordsError struct {
	Names []string // the names of the queries
	Err   error    // last error of DNS; nil: it gave an empty answer
}

// Error names the queries.
func (e *NoRecordsError) Error() string {
	text := "SRV discovery failed: there are no records " + strings.Join(e.Names, " or ")
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the error of DNS.
func (e *NoRecordsError) Unwrap() error { return e.Err }

// RecordsError tells a permanent fault of records.
type RecordsError struct {
	Domain string
	Reason string
}

// Error gives the domain and the reason.
func (e *RecordsError) Error() string {
	return fmt.Sprintf("SRV discovery failed: the records of %s cannot be used: %s", e.Domain, e.Reason)
}

// Peers gives the peer URLs of members, sorted: for a proxy, which is not a
// member. The members tell it of those without TLS.
func (s SRV) Peers(ctx context.Context) ([]string, error) { return s.urls(ctx) }

func (s SRV) urls(ctx context.Context) ([]string, error) {
	hosts, err := s.await(ctx, func() ([]host, error) { return s.look(ctx, "etcd-server") })
	var secure, plain []string
	for _, h := range hosts {
		for _, e := range h.at {
			if url := h.url(e); e.scheme == "https" {
				secure = append(secure, url)
			} else {
				plain = append(plain, url)
			}
		}
	}
	if len(secure) > 0 && len(plain) > 0 && !s.Insecure {
		slices.Sort(plain)
		s.Log.Warnf("ignored the records of %s without TLS, since there are some with TLS: %s", s.Domain, strings.Join(plain, ","))
		plain = nil
	}
	return slices.Sorted(slices.Values(slices.Concat(secure, plain))), err
}

// await tries until there is an answer; a permanent error is an answer, too.
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

// host is a target of records.
type host struct {
	name      string // lower-case, without the final dot
	at        []endpoint
	addresses []netip.Addr // nil: not looked up
}

// endpoint is one record: how a host is reached.
type endpoint struct {
	scheme string
	port   uint16
}

func (h host) urls() []string {
	var urls []string
	for _, e := range h.at {
		urls = append(urls, h.url(e))
	}
	return urls
}

func (h host) url(e endpoint) string {
	return e.scheme + "://" + net.JoinHostPort(h.name, strconv.Itoa(int(e.port)))
}

// look queries both kinds of records once, and gives their hosts by name. If one
// query fails, the answer to the other is not used alone (B43).
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
		gather(found, kind.scheme, records)
	}
	if len(found) == 0 {
		return nil, none
	}
	return s.arrange(found)
}

// gather adds records of one kind to those of hosts.
func gather(found map[string][]endpoint, scheme string, records []*net.SRV) {
	for _, r := range records {
		if target := strings.ToLower(strings.TrimSuffix(r.Target, ".")); target != "" { // RFC 2782: "." means no host
			found[target] = append(found[target], endpoint{scheme, r.Port})
		}
	}
}

// arrange sorts hosts and their endpoints, and refuses an invalid port, or one
// with records for both http and https.
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
