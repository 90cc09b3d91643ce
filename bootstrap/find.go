package bootstrap

import (
	"context"
	"net"

	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/replica"
)

// firstMembers finds the members of a new cluster: in the list that was given,
// by a discovery token, or in DNS. It also adds them to the Bootstrap of the
// configuration.
func (f *Finder) firstMembers(ctx context.Context, b config.Bootstrap) (config.Bootstrap, firststart.Bootstrap, error) {
	first := firststart.Bootstrap{Cluster: map[string][]string{}, Token: b.Token}
	var err error
	switch d := f.Config.Discovery; {
	case d.URL != "":
		err = f.discover(ctx, &first)
	case d.SRV != "":
		first.Cluster, err = f.records().Cluster(ctx, f.Config.Name, f.Config.AdvertisePeerURLs.Strings())
	default:
		for name, urls := range b.Cluster {
			first.Cluster[name] = urls.Strings()
		}
		return b, first, nil
	}
	if err == nil {
		b, err = b.With(first.Cluster)
	}
	return b, first, err
}

// discover registers under the token, and waits for the others.
func (f *Finder) discover(ctx context.Context, first *firststart.Bootstrap) error {
	token, err := discovery.ParseToken(f.Config.Discovery.URL)
	if err != nil {
		return err
	}
	o := f.tokenOptions(token)
	o.Name, o.PeerURLs = f.Config.Name, f.Config.AdvertisePeerURLs.Strings()
	o.IDOf = func(peerURLs []string, token string) uint64 { return uint64(firststart.MemberIDOf(peerURLs, token)) }
	o.Started = f.knowsStarted
	o.FS, o.Dir = f.FS, f.Config.MemberDir()
	for i := range f.Config.AdvertisePeerURLs {
		if u := &f.Config.AdvertisePeerURLs[i]; isLoopback(u.Hostname()) && !isLoopback(token.Host()) {
			f.Log.Warnf("registering %s, which nobody but this machine can reach; see --initial-advertise-peer-urls", u)
		}
	}
	peers, err := discovery.Join(ctx, o)
	if err != nil {
		return err
	}
	first.Token, first.IDs = token.String(), map[string]replica.ID{}
	for _, peer := range peers {
		first.Cluster[peer.Name], first.IDs[peer.Name] = peer.PeerURLs, replica.ID(peer.ID)
	}
	return nil
}

// tokenOptions are the options of a member and of a proxy.
func (f *Finder) tokenOptions(token discovery.Token) discovery.Options {
	return discovery.Options{Token: token, Proxy: f.Config.Discovery.Proxy, Log: f.Log, Waiting: f.Waiting}
}

func (f *Finder) records() discovery.SRV {
	d := f.Config.Discovery
	return discovery.SRV{Domain: d.SRV, Suffix: d.SRVName, Resolver: net.DefaultResolver, Log: f.Log, Waiting: f.Waiting}
}

// isLoopback reports whether a host is this machine for all of its processes.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
