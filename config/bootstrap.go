package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"canopy/config/value"
	"canopy/internal/redact"
)

// bootstrapFlags are the flags that have an effect only at the first start of a data directory.
type bootstrapFlags struct {
	initialCluster string
	token          string
	state          string
}

// Bootstrap is what the first start of a data directory needs besides the Config. Its URLs are those of the list, as
// text: that is what is hashed into IDs, stored and dialled (B28).
type Bootstrap struct {
	Cluster map[string]value.URLs // peer URLs by member name; holds the member's own name; nil: discovery finds it
	Token   string                // goes into all IDs (B17)
	Joins   bool                  // the cluster is running already (B30)
	Rejoin  bool                  // if this member ran before and its data is gone, it joins again

	advertised value.URLs
}

// Lookup resolves a host name to addresses.
type Lookup func(host string) ([]string, error)

// Bootstrap checks the flags of the first start (F27, F28) and is not to be called on a restart, which ignores them
// (B10). lookup compares host names by their addresses (B29); nil compares text only. The error is an *Error.
func (c Config) Bootstrap(lookup Lookup) (Bootstrap, error) {
	b := bootstrapper{config: c, lookup: lookup}
	var cluster map[string]value.URLs
	b.checkAdvertised()
	if c.Discovery.On() {
		b.checkDiscovery()
		if c.Discovery.URL != "" && c.bootstrap.state == "existing" { // B30
			b.refuse("discovery URL should not be set when joining existing initial cluster: leave one of --discovery and --initial-cluster-state out", "discovery")
		}
	} else {
		cluster = b.static()
	}
	if len(b.faults) > 0 {
		return Bootstrap{}, &Error{Faults: b.faults, Exit: exitRefused}
	}
	return Bootstrap{
		Cluster: cluster, Token: c.bootstrap.token, Joins: c.bootstrap.state == "existing", Rejoin: c.Raft.Rejoin,
		advertised: c.AdvertisePeerURLs,
	}, nil
}

// With gives the Bootstrap with members that were discovered. It does not check them: discovery has compared them with what this
// member advertises.
func (b Bootstrap) With(cluster map[string][]string) (Bootstrap, error) {
	b.Cluster = map[string]value.URLs{}
	for name, texts := range cluster {
		urls, err := value.ParseURLs(strings.Join(texts, ","))
		if err != nil {
			return b, fmt.Errorf("error setting up initial cluster: %w (discovered for %q)", err, name)
		}
		b.Cluster[name] = urls
	}
	return b, nil
}

// SamePeers compares two lists of URLs as sets, names by their addresses (B29).
func SamePeers(x, y []string, lookup Lookup) bool {
	one, errOne := value.ParseURLs(strings.Join(x, ","))
	other, errOther := value.ParseURLs(strings.Join(y, ","))
	b := bootstrapper{lookup: lookup}
	return errOne == nil && errOther == nil && b.sameURLs(one, other)
}

// Summary is the lines to log at a first start, after Config.Summary (F30).
func (b Bootstrap) Summary() []string {
	return []string{
		"initial advertise peer URLs = " + b.advertised.String(),
		"initial cluster = " + value.ClusterText(b.Cluster),
	}
}

type bootstrapper struct {
	config Config
	lookup Lookup
	faults []Fault
}

func (b *bootstrapper) refuse(text, flag string) {
	s := b.config.setting(flag)
	s.Value = redact.FlagValue(s.Value)
	b.faults = append(b.faults, Fault{Flag: flag, Value: s.Value, Source: s.Source,
		Text: fmt.Sprintf("%s [--%s=%s from %s]", text, flag, s.Value, s.Source)})
}

// checkAdvertised repeats a check of Parse, which may have treated this start as a restart: the files of an interrupted first
// start look like those of a restart.
func (b *bootstrapper) checkAdvertised() {
	const flag = "initial-advertise-peer-urls"
	for i := range b.config.AdvertisePeerURLs {
		if why := value.Unreachable(&b.config.AdvertisePeerURLs[i]); why != "" {
			b.refuse("--"+flag+" "+why, flag)
		}
	}
}

// static reads and checks the list of members that was given.
func (b *bootstrapper) static() map[string]value.URLs {
	if name := b.config.Name; strings.ContainsAny(name, "=,") {
		b.refuse(fmt.Sprintf("a list of members cannot hold the name %q: choose a --name without = and comma", name), "name")
		return nil
	}
	cluster, err := value.ParseCluster(b.config.bootstrap.initialCluster)
	if err != nil {
		b.refuse("error setting up initial cluster: "+err.Error(), "initial-cluster")
		return nil
	}
	b.check(cluster)
	return cluster
}

// check is F27 and F28, for a list that parsed. Each sentence says what to change.
func (b *bootstrapper) check(cluster map[string]value.URLs) {
	const flag = "initial-cluster"
	if url, names := value.DuplicateURL(cluster); url != "" {
		b.refuse(fmt.Sprintf("initial cluster %s has duplicate url: %s belongs to %s; give each member its own", value.ClusterText(cluster), url, names), flag)
	}
	name := b.config.Name
	own, ok := cluster[name]
	if !ok {
		b.refuse(fmt.Sprintf("couldn't find local name %q in the initial cluster configuration, which has %s: %s", name, value.NameList(cluster), b.nameAdvice(cluster)), flag)
		return
	}
	if b.sameURLs(own, b.config.AdvertisePeerURLs) {
		return
	}
	b.refuse(b.mismatch(cluster, own), flag)
}

// nameAdvice says how to correct a list without this member's name.
func (b *bootstrapper) nameAdvice(cluster map[string]value.URLs) string {
	if other := b.holder(cluster); other != "" {
		return fmt.Sprintf("%s has the peer URLs of this member, so set --name=%s, or call it %s in the list", other, other, b.config.Name)
	}
	return fmt.Sprintf("set --name to one of these, or add %s to --initial-cluster", value.ClusterText(map[string]value.URLs{b.config.Name: b.config.AdvertisePeerURLs}))
}

// holder is the member of a list that has what this one advertises; "": none.
func (b *bootstrapper) holder(cluster map[string]value.URLs) string {
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		if b.sameURLs(cluster[name], b.config.AdvertisePeerURLs) {
			return name
		}
	}
	return ""
}

// mismatch says that the list has other URLs for this member than it advertises (F28).
func (b *bootstrapper) mismatch(cluster map[string]value.URLs, own value.URLs) string {
	name, advertised := b.config.Name, b.config.AdvertisePeerURLs
	if b.within(advertised, own) {
		return fmt.Sprintf("--initial-cluster has %d URLs for %s, of which --initial-advertise-peer-urls lacks some: if two members share the name %s, give each its own name; if it is one member, advertise all of %s",
			len(own), name, name, own)
	}
	text := fmt.Sprintf("--initial-cluster must include %s given --initial-advertise-peer-urls=%s", value.ClusterText(map[string]value.URLs{name: advertised}), advertised)
	if other := b.holder(cluster); other != "" {
		return fmt.Sprintf("%s; it lists these URLs for %s: set --name=%s, or exchange the names in the list", text, other, other)
	}
	for _, f := range []string{"initial-cluster", "initial-advertise-peer-urls"} {
		if !b.config.Source(f).IsSet() {
			text += "; forgot to set --" + f + " flag?"
		}
	}
	return text + "; it has " + value.ClusterText(map[string]value.URLs{name: own}) + ": change one of the two flags"
}

// sameURLs compares two lists as sets (B29): each URL must have its equal in the other list.
func (b *bootstrapper) sameURLs(x, y value.URLs) bool { return b.within(x, y) && b.within(y, x) }

// within tells whether each URL of x has its equal in y.
func (b *bootstrapper) within(x, y value.URLs) bool {
	for i := range x {
		if !slices.ContainsFunc(y, func(u url.URL) bool { return b.sameURL(&x[i], &u) }) {
			return false
		}
	}
	return true
}

// sameURL compares names by their addresses; any address in common counts.
func (b *bootstrapper) sameURL(x, y *url.URL) bool {
	if x.Scheme != y.Scheme || x.Port() != y.Port() {
		return false
	}
	if x.Hostname() == y.Hostname() {
		return true
	}
	theirs := b.addresses(y.Hostname())
	return slices.ContainsFunc(b.addresses(x.Hostname()), func(a string) bool { return slices.Contains(theirs, a) })
}

// addresses are those of a host; itself, if it is an address, localhost, or cannot be resolved.
func (b *bootstrapper) addresses(host string) []string {
	if b.lookup == nil || host == "localhost" || net.ParseIP(value.Zoneless(host)) != nil {
		return []string{host}
	}
	found, err := b.lookup(host)
	if err != nil || len(found) == 0 {
		return []string{host}
	}
	return found
}
