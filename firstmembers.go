package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver"
	"canopy/internal/disk"
)

// firstMembers finds the members of a new cluster: in the list that was given,
// by a discovery token, or in DNS. What it found is also in the Bootstrap that
// it gives back.
func (p *peering) firstMembers(ctx context.Context, b config.Bootstrap) (config.Bootstrap, etcdserver.Bootstrap, error) {
	first := etcdserver.Bootstrap{Cluster: map[string][]string{}, Token: b.Token}
	var err error
	switch d := p.config.Discovery; {
	case d.URL != "":
		err = p.discover(ctx, &first)
	case d.SRV != "":
		first.Cluster, err = recordsOf(d, p.systemd, p.logger).Cluster(ctx, p.config.Name, p.config.AdvertisePeerURLs.Strings())
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
func (p *peering) discover(ctx context.Context, first *etcdserver.Bootstrap) error {
	token, err := discovery.ParseToken(p.config.Discovery.URL)
	if err != nil {
		return err
	}
	o := tokenOptions(p.config, token, p.systemd, p.logger)
	o.Name, o.PeerURLs = p.config.Name, p.config.AdvertisePeerURLs.Strings()
	o.IDOf = func(peerURLs []string, token string) uint64 { return uint64(etcdserver.MemberIDOf(peerURLs, token)) }
	o.Started = p.knowsStarted
	o.FS, o.Dir = patientDisk(ctx, p.logger), p.config.MemberDir()
	for i := range p.config.AdvertisePeerURLs {
		if u := &p.config.AdvertisePeerURLs[i]; isLoopback(u.Hostname()) && !isLoopback(token.Host()) {
			p.logger.Warnf("registering %s, which nobody but this machine can reach; see --initial-advertise-peer-urls", u)
		}
	}
	peers, err := discovery.Join(ctx, o)
	if err != nil {
		return err
	}
	first.Token, first.IDs = token.String(), map[string]etcdserver.ID{}
	for _, peer := range peers {
		first.Cluster[peer.Name], first.IDs[peer.Name] = peer.PeerURLs, etcdserver.ID(peer.ID)
	}
	return nil
}

// tokenOptions are those that do not depend on who joins.
func tokenOptions(c config.Config, token discovery.Token, systemd *supervisor, logger *logrus.Logger) discovery.Options {
	return discovery.Options{Token: token, Proxy: c.Discovery.Proxy, Log: logger, Waiting: systemd.awaits}
}

func recordsOf(d config.Discovery, systemd *supervisor, logger *logrus.Logger) discovery.SRV {
	return discovery.SRV{Domain: d.SRV, Suffix: d.SRVName, Resolver: net.DefaultResolver, Log: logger, Waiting: systemd.awaits}
}

// discoveryPatience is how long a proxy that knows its cluster, and finds
// nobody of it, asks whether there is another.
const discoveryPatience = 10 * time.Second

// firstPeers finds the peer URLs of a cluster for a proxy (P3). Those that are
// to be discovered are waited for (D39), unless the proxy knows others.
func firstPeers(c config.Config, systemd *supervisor, logger *logrus.Logger) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		defer systemd.does(proxyServes)
		if given, err := c.FirstPeerURLs(); err != nil || !c.Discovery.On() {
			return given, err
		}
		if knowsCluster(c) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, discoveryPatience)
			defer cancel()
		}
		if c.Discovery.SRV != "" {
			return recordsOf(c.Discovery, systemd, logger).Peers(ctx)
		}
		token, err := discovery.ParseToken(c.Discovery.URL)
		if err != nil {
			return nil, err
		}
		peers, err := discovery.Members(ctx, tokenOptions(c, token, systemd, logger))
		return peerURLs(peers), err
	}
}

func peerURLs(peers []discovery.Peer) []string {
	var urls []string
	for _, peer := range peers {
		urls = append(urls, peer.PeerURLs...)
	}
	return urls
}

// becomeProxy runs a proxy to a cluster in which there was no more room. What
// the member that was not to be has left is removed, so that this directory is
// that of a proxy from now on (B6, D16).
func becomeProxy(ctx context.Context, c config.Config, full *discovery.FullError, systemd *supervisor, logger *logrus.Logger) error {
	logger.Warn("discovery cluster full, falling back to proxy: this process does not become a member (--discovery-fallback)")
	for _, dir := range []string{c.SnapDir(), filepath.Join(c.MemberDir(), "wal"), c.MemberDir()} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make the data directory one of a proxy: %w", err)
		}
	}
	c.Proxy.Mode = config.ProxyOn
	members := func(context.Context) ([]string, error) { return peerURLs(full.Members), nil }
	return serveProxy(ctx, c, members, systemd, logger)
}

// memberPatience is how long another member may take to say whom it knows.
const memberPatience = 2 * time.Second

// knowsStarted asks one member, by one of its URLs after the other, whether it
// knows the member with the id to have run.
func (p *peering) knowsStarted(ctx context.Context, urls []string, id uint64) (bool, error) {
	var last error
	for _, u := range urls {
		started, err := p.askStarted(ctx, u, urls, id)
		if err == nil {
			return started, nil
		}
		last = err
	}
	return false, last
}

// askStarted believes a no only once the member has all that is committed: one
// that lags, or has no leader yet, may not have heard that another has run.
func (p *peering) askStarted(ctx context.Context, peerURL string, urls []string, id uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, memberPatience)
	defer cancel()
	_, members, err := p.fetch(ctx, peerURL)
	if err != nil || hasRun(members, id) {
		return err == nil, err
	}
	last := fmt.Errorf("%s has not published itself yet", peerURL)
	for _, m := range members {
		if !slices.Equal(slices.Sorted(slices.Values(m.PeerURLs)), slices.Sorted(slices.Values(urls))) {
			continue
		}
		for _, door := range m.ClientURLs {
			err := p.healthy(ctx, door)
			if err == nil {
				_, members, err = p.fetch(ctx, peerURL)
				return hasRun(members, id), err
			}
			last = fmt.Errorf("%s cannot read what is committed: %w", door, err)
		}
	}
	return false, last
}

// healthy asks a member to read linearizably.
func (p *peering) healthy(ctx context.Context, door string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, door+"/health", http.NoBody)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %d", response.StatusCode)
	}
	return nil
}

func hasRun(members []etcdserver.MemberInfo, id uint64) bool {
	return slices.ContainsFunc(members, func(m etcdserver.MemberInfo) bool { return uint64(m.ID) == id && len(m.ClientURLs) > 0 })
}

// begun is called once this member has a log: whatever was to be discovered no
// longer matters.
func (p *peering) begun() {
	if c := p.config; c.Discovery.On() && !p.asked {
		p.logger.Warnf("discovery token ignored since a cluster has already been initialized. Valid log found at %q", c.LogDir())
	}
	if err := discovery.Forget(disk.OS{}, p.config.MemberDir()); err != nil {
		p.logger.Warnf("remove what is left of the wait for the cluster: %v", err)
	}
}
