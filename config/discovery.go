package config

import (
	"net/url"
	"strings"
)

// Discovery says where the first members of a cluster are found when no list of them is given. At most one of URL and
// SRV is set (F20); neither matters once there is data (B10).
type Discovery struct {
	URL      string // of a token of a discovery service, as given, or ""; it may hold a password
	Proxy    string // HTTP proxy on the way there, http://host:port or host:port, or ""
	Fallback string // what becomes of this process when the cluster is full: "proxy", or "exit" (D16); default "proxy"
	SRV      string // the domain whose SRV records list the members, or ""
	SRVName  string // a part of the names of those records, or "" (F50)
}

// On reports whether members are to be discovered at all.
func (d Discovery) On() bool { return d.URL != "" || d.SRV != "" }

// checkDiscovery finds what is wrong with the flags before anybody is asked.
func (b *bootstrapper) checkDiscovery() {
	d := b.config.Discovery
	if u, err := url.Parse(d.URL); d.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		b.refuse("--discovery must be the URL of a token; allowed: http:// or https://, a host, and a path", "discovery")
	}
	if d.SRV != "" && !isDomain(d.SRV) {
		b.refuse("--discovery-srv must be a DNS domain, like example.com", "discovery-srv")
	}
	if d.SRV != "" && d.SRVName != "" && !isLabel(d.SRVName) {
		b.refuse("--discovery-srv-name must be a part of a DNS label: letters, digits and dashes", "discovery-srv-name")
	}
}

func isDomain(text string) bool {
	if len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// labelMax is the length of a DNS label, in bytes.
const labelMax = 63

func isLabel(text string) bool {
	return text != "" && len(text) <= labelMax && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}

// secretURLValue is a URL that may hold a password, which is not shown.
type secretURLValue struct {
	p    *string
	what string
}

func (v secretURLValue) Set(s string) error { *v.p = s; return nil }
func (v secretURLValue) String() string     { return withoutPassword(*v.p) }
func (v secretURLValue) Type() string       { return "text" }
func (v secretURLValue) allowed() string    { return v.what }

// withoutPassword is Redacted for the text of a flag, which may be a URL that lacks its scheme.
func withoutPassword(text string) string {
	if user, _, _ := strings.Cut(text, "@"); strings.Contains(text, "://") || !strings.Contains(user, ":") {
		return Redacted(text)
	}
	return withoutUser(text)
}
