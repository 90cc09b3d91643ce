package value

import (
	"net"
	"slices"
	"strings"
)

// HostPolicy decides which Host headers are served, so that a foreign web page cannot reach a member by a name of its own that
// resolves to the member's address (R73, F51). Addresses, localhost and the hosts of advertised client URLs are always allowed,
// and besides them:
//
//	Any                                every name
//	Names                              the listed ones
//	neither, at a loopback address     the name of this machine, and names without a dot, as proxies, containers and
//	                                   /etc/hosts use them: the name of a foreign site has a dot
//	neither, at another address        every name
//
// Names are lower-case and sorted.
type HostPolicy struct {
	Any   bool
	Names []string

	machine string   // the name of this machine, lower-case
	own     []string // hosts of the advertised client URLs, lower-case, sorted
}

// NewHostPolicy makes the policy of --host-whitelist for a member that advertises these client URLs, on a machine of
// this name.
func NewHostPolicy(whitelist []string, machine string, advertised URLs) HostPolicy {
	p := HostPolicy{Any: slices.Contains(whitelist, "*"), Names: whitelist, machine: hostName(machine)}
	for i := range advertised {
		p.own = append(p.own, hostName(advertised[i].Host))
	}
	slices.Sort(p.own)
	return p
}

// Allows reports whether a request with this Host header may be served, where loopback tells whether it came to a
// loopback address; false means 421. A missing Host (HTTP/1.0) passes, since no browser sends such a request. What is
// allowed at a loopback address is allowed everywhere.
func (p HostPolicy) Allows(host string, loopback bool) bool {
	if p.Any || host == "" {
		return true
	}
	name := hostName(host)
	switch {
	case name == "localhost", net.ParseIP(Zoneless(name)) != nil, contains(p.own, name), contains(p.Names, name):
		return true
	case len(p.Names) > 0:
		return false
	}
	return !loopback || IsLabel(name) || name == p.machine && name != ""
}

// hostName is the Host header without port, brackets and trailing dot, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Zoneless is an IPv6 literal without its zone.
func Zoneless(ip string) string {
	ip, _, _ = strings.Cut(ip, "%")
	return ip
}

func contains(sorted []string, s string) bool {
	_, found := slices.BinarySearch(sorted, s)
	return found
}

// labelMax is the length of a DNS label, in bytes.
const labelMax = 63

// IsLabel tells whether text is a DNS label; underscores are allowed, since proxies and containers use them.
func IsLabel(text string) bool {
	return text != "" && len(text) <= labelMax && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
