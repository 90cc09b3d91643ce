package config

import (
	"net/url"
	"strings"

	"canopy/config/value"
)

// Discovery says where the first members of a cluster are found when no list of them is given. At most one of URL and
// SRV is set (F20); neither matters once there is data (B10).
type Discovery struct {
	URL      string // of a token of a discovery service, as given, or ""; it may hold a password
	Proxy    string // HTTP proxy on the way there, http://host:port or host:port, or ""
	Fallback string // what this process does when the cluster is full: "proxy", or "exit" (D16); default "proxy"
	SRV      string // the domain whose SRV records list the members, or ""
	SRVName  string // a part of the names of those records, or "" (F50)
}

// On reports whether discovery finds the first members.
func (d Discovery) On() bool { return d.URL != "" || d.SRV != "" }

// checkDiscovery checks the flags before any request is made.
func (b *bootstrapper) checkDiscovery() {
	d := b.config.Discovery
	if u, err := url.Parse(d.URL); d.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		b.refuse("--discovery must be the URL of a token; allowed: http:// or https://, a host, and a path", "discovery")
	}
	if d.SRV != "" && !isDomain(d.SRV) {
		b.refuse("--discovery-srv must be a DNS domain, like example.com", "discovery-srv")
	}
	if d.SRV != "" && d.SRVName != "" && !value.IsLabel(d.SRVName) {
		b.refuse("--discovery-srv-name must be a part of a DNS label: letters, digits and dashes", "discovery-srv-name")
	}
}

func isDomain(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if !value.IsLabel(label) {
			return false
		}
	}
	return true
}
