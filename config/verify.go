package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"canopy/config/value"
)

// verify finds all faults of values that parsed, in the order of flags.md section 4. It only warns about flags without effect.
func (d *draft) verify(groups []group) ([]Fault, []Note) {
	v := verifier{draft: d, unused: map[string]bool{}}
	for _, g := range groups {
		for _, r := range g.rows {
			v.unused[r.name] = !d.matters(r)
		}
	}
	v.rows(groups)
	v.name()
	v.advertised("advertise-client-urls", d.AdvertiseClientURLs)
	v.advertised("initial-advertise-peer-urls", d.AdvertisePeerURLs)
	v.oneBootstrap()
	v.oneName(groups)
	for _, l := range v.listeners() {
		v.listening(l.flag, l.urls)
	}
	v.certificates(d.clientSide())
	v.certificates(d.peerSide())
	v.protocol()
	v.collisions()
	v.advertiseWhatIsListened()
	v.times()
	v.logging()
	return v.faults, v.notes
}

type verifier struct {
	*draft
	faults []Fault
	notes  []Note
	unused map[string]bool // flags that have no effect on this process
}

// refuse adds a fault about flags; it is listed under the first of them. After the text come the value of each flag, and where
// that came from (F29).
func (v *verifier) refuse(text string, flags ...string) {
	if i := slices.IndexFunc(flags, func(f string) bool { return v.unused[f] }); i >= 0 {
		text, _, _ = strings.Cut(text, "\n")
		v.notes = append(v.notes, Note{Warning: true, Text: fmt.Sprintf("--%s is ignored, since it has no effect %s: %s", flags[i], v.where(), text)})
		return
	}
	hint := ""
	text, hint, _ = strings.Cut(text, "\n")
	if hint != "" {
		hint = "\n" + hint
	}
	facts := make([]string, len(flags))
	for i, flag := range flags {
		facts[i] = fmt.Sprintf("--%s=%s from %s", flag, v.shown(flag), v.sources[flag])
	}
	v.faults = append(v.faults, Fault{
		Flag: flags[0], Value: v.shown(flags[0]), Source: v.sources[flags[0]],
		Text: fmt.Sprintf("error verifying flags, %s. See 'canopy --help'. [%s]%s", text, strings.Join(facts, ", "), hint),
	})
}

// shown is a flag's value as given, or its default.
func (v *verifier) shown(flag string) string {
	if v.isSet(flag) {
		return v.given[flag]
	}
	return v.defaults[flag]
}

// rows checks each flag alone: its bounds, and whether it is supported yet.
func (v *verifier) rows(groups []group) {
	for _, g := range groups {
		for _, r := range g.rows {
			if r.refused != "" && r.changed() {
				v.refuse(fmt.Sprintf("--%s=%s is refused: %s", r.name, r.value, r.refused), r.name)
			}
			n, ok := r.value.(value.Ranged)
			if !ok {
				continue
			}
			if err := n.Check(); err != nil {
				v.refuse(fmt.Sprintf("--%s %v (set to %s)", r.name, err, r.value), r.name)
				if v.unused[r.name] {
					r.setDefault()
				}
			}
		}
	}
}

// name refuses an empty name, and characters that could forge log lines (M3).
func (v *verifier) name() {
	switch {
	case v.Name == "":
		v.refuse("--name must not be empty", "name")
	case !utf8.ValidString(v.Name) || strings.ContainsFunc(v.Name, unicode.IsControl):
		v.refuse(fmt.Sprintf("--name must be text without control characters (set to %q)", v.Name), "name")
	}
}

// advertised refuses URLs to which no connection is possible (F19).
func (v *verifier) advertised(flag string, urls value.URLs) {
	for i := range urls {
		if why := value.Unreachable(&urls[i]); why != "" {
			v.refuse("-"+flag+" "+why, flag)
		}
	}
}

// oneBootstrap refuses more than one way to find the first members (F20).
func (v *verifier) oneBootstrap() {
	var set []string
	for _, flag := range []string{"initial-cluster", "discovery", "discovery-srv"} {
		if v.isSet(flag) {
			set = append(set, flag)
		}
	}
	if len(set) > 1 {
		v.refuse(`multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv"`, set...)
	}
}

// oneName refuses a flag together with its old name (F14, F22). The two logging aliases have rules of their own.
func (v *verifier) oneName(groups []group) {
	for _, g := range groups {
		for _, r := range g.rows {
			if _, old := r.value.(addrValue); old && v.isSet(r.name) && v.isSet(r.aliasOf) {
				v.refuse(fmt.Sprintf("Set only one of flags -%s and -%s", r.aliasOf, r.name), r.aliasOf, r.name)
			}
		}
	}
}

type listener struct {
	flag string
	urls value.URLs
}

func (v *verifier) listeners() []listener {
	return []listener{
		{"listen-peer-urls", v.ListenPeerURLs},
		{"listen-client-urls", v.ListenClientURLs},
		{"listen-metrics-urls", v.ListenMetricsURLs},
	}
}

// listening refuses names other than localhost, which could resolve elsewhere one day (F23).
func (v *verifier) listening(flag string, urls value.URLs) {
	for i := range urls {
		u := &urls[i]
		host := u.Hostname()
		if host != "" && host != "localhost" && net.ParseIP(value.Zoneless(host)) == nil {
			v.refuse(fmt.Sprintf("expected IP in URL for binding (%s); allowed in -%s: an IP address, localhost, or no host", u, flag), flag)
		}
	}
}

// collisions finds listeners that cannot be open at the same time (F35).
func (v *verifier) collisions() {
	type place struct {
		flag string
		url  *url.URL
	}
	var taken []place
	for _, l := range v.listeners() {
		if v.unused[l.flag] {
			continue
		}
		for i := range l.urls {
			here := place{l.flag, &l.urls[i]}
			for _, there := range taken {
				if collide(here.url, there.url) {
					v.refuse(fmt.Sprintf("-%s and -%s cannot both listen on one port: %s and %s", there.flag, here.flag, there.url, here.url), there.flag, here.flag)
				}
			}
			taken = append(taken, here)
		}
	}
}

// collide reports whether two listeners ask for the same port of the same, or of every, interface. Port 0 is any free one.
func collide(a, b *url.URL) bool {
	if a.Port() != b.Port() || a.Port() == "0" {
		return false
	}
	x, y := bindHost(a), bindHost(b)
	return x == y || covers(x, y) || covers(y, x)
}

func bindHost(u *url.URL) string {
	switch host := u.Hostname(); host {
	case "localhost":
		return "127.0.0.1"
	case "":
		return "::"
	default:
		return host
	}
}

// covers reports whether listening on host x takes the port on y too.
func covers(x, y string) bool { return x == "::" || x == "0.0.0.0" && !strings.Contains(y, ":") }

// advertiseWhatIsListened demands client URLs to advertise for a client listener that was given (F24).
func (v *verifier) advertiseWhatIsListened() {
	mayBecomeProxy := v.modes == proxying || v.Proxy.Mode != ProxyOff || v.isSet("discovery") && v.Discovery.Fallback == "proxy"
	if !v.isSet("listen-client-urls") || v.isSet("advertise-client-urls") || v.isSet("addr") || mayBecomeProxy {
		return
	}
	v.refuse("-advertise-client-urls is required when -listen-client-urls is set explicitly\n"+
		"When listening on specific address(es), this canopy process must advertise accessible url(s) to each connected client.",
		"advertise-client-urls", "listen-client-urls")
}

// times checks the raft times (F26). It divides, since five heartbeats could overflow.
func (v *verifier) times() {
	const heartbeat, election = "heartbeat-interval", "election-timeout"
	r := v.Raft
	switch {
	case r.Heartbeat == 0:
		v.refuse("--heartbeat-interval must be >0 (set to 0ms)", heartbeat)
	case r.Heartbeat < time.Millisecond:
		v.refuse(fmt.Sprintf("--heartbeat-interval must be at least 1ms (set to %s)", r.Heartbeat), heartbeat)
	case r.Election/5 < r.Heartbeat:
		v.refuse(fmt.Sprintf("-election-timeout[%dms] should be at least as 5 times as -heartbeat-interval[%dms]",
			r.Election.Milliseconds(), r.Heartbeat.Milliseconds()), election, heartbeat)
	}
	if r.Election > electionMax {
		v.refuse(fmt.Sprintf("-election-timeout[%dms] is too long, and should be set less than %dms",
			r.Election.Milliseconds(), electionMax.Milliseconds()), election)
	}
}

// logging refuses two different formats, and no output at all.
func (v *verifier) logging() {
	if v.isSet("logger") && v.isSet("log-format") && v.raw.logger != v.Log.Format {
		v.refuse("Set only one of flags -log-format and -logger", "log-format", "logger")
	}
	if len(v.Log.Outputs) == 0 {
		v.refuse("--log-outputs must name at least one output: stderr, stdout or a file", "log-outputs")
	}
}
