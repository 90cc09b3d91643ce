package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/etcdserver"
	"canopy/etcdserver/metrics"
	"canopy/internal/places"
	"canopy/raft"
	"canopy/rafthttp"
)

// peering is what connects this member to the others: who they are at the
// first start, and the transport on the peer port.
type peering struct {
	config    config.Config
	registry  prometheus.Registerer
	systemd   *supervisor
	logger    *logrus.Logger
	client    *http.Client // for asking at the first start
	asked     bool         // it is the first start
	transport *rafthttp.Transport
}

func newPeering(c config.Config, registry prometheus.Registerer, systemd *supervisor, logger *logrus.Logger) *peering {
	return &peering{config: c, registry: registry, systemd: systemd, logger: logger, client: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a member answers itself
	}}
}

// connect makes the transport of a member.
func (p *peering) connect(self rafthttp.Identity, owner rafthttp.Owner) etcdserver.Transport {
	for i := range p.config.ListenPeerURLs {
		if u := &p.config.ListenPeerURLs[i]; !isLoopback(u.Hostname()) {
			p.logger.Warnf("whoever reaches the peer port, %s, can read and destroy the cluster: keep it in a network of its own", u)
			break
		}
	}
	p.transport = rafthttp.New(rafthttp.Options{
		Self:          self,
		ServerVersion: etcdserver.APIVersion,
		PeerURLs:      p.config.AdvertisePeerURLs.Strings,
		Heartbeat:     p.config.Raft.Heartbeat,
		Election:      p.config.Raft.Election,
		SnapshotRate:  p.config.Raft.SnapshotRate,
		Welcomed:      places.Leave,
		Owner:         owner,
		Observer:      p.observer(self),
		Log:           p.logger.WithField("pkg", "rafthttp"),
	})
	return p.transport
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// observer turns what the transport measures into metrics.
func (p *peering) observer(self rafthttp.Identity) rafthttp.Observer {
	set := metrics.NewPeers(p.registry, uint64(self.Member), rafthttp.Reasons()...)
	of := func(peer raft.MemberID) *metrics.Peer { return set.Of(uint64(peer)) }
	return rafthttp.Observer{
		Sent:         func(peer raft.MemberID, bytes int) { of(peer).Sent.Add(float64(bytes)) },
		Received:     func(peer raft.MemberID, bytes int) { of(peer).Received.Add(float64(bytes)) },
		RoundTrip:    func(peer raft.MemberID, d time.Duration) { of(peer).RoundTrip.Observe(d.Seconds()) },
		Added:        func(peer raft.MemberID) { set.Add(uint64(peer)) },
		Removed:      func(peer raft.MemberID) { set.Remove(uint64(peer)) },
		Active:       func(peer raft.MemberID, active bool) { of(peer).SetActive(active) },
		Failed:       func(peer raft.MemberID) { of(peer).Failures.Inc() },
		Dropped:      func(peer raft.MemberID) { of(peer).Drops.Inc() },
		Refused:      func(_ raft.MemberID, reason rafthttp.Reason) { set.Refused(reason.String()) },
		SnapshotSent: func(peer raft.MemberID, _ int64, d time.Duration, err error) { of(peer).SnapshotSent(d, err) },
	}
}

// handler serves the peer port: members, and below it what other programs ask.
func (p *peering) handler(others http.Handler) http.Handler {
	members := p.transport.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		isRaft := path == "/raft" || strings.HasPrefix(path, "/raft/") && path != "/raft/probing" && path != "/raft/"
		if isRaft || strings.HasPrefix(path, "/canopy/peer/") {
			members.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// bootstrap checks and gives what only the first start of a data directory needs.
func (p *peering) bootstrap(ctx context.Context) (etcdserver.Bootstrap, error) {
	p.asked = true
	b, err := p.config.Bootstrap(net.LookupHost)
	if err != nil {
		return etcdserver.Bootstrap{}, err
	}
	b, first, err := p.firstMembers(ctx, b)
	if err != nil {
		return etcdserver.Bootstrap{}, err
	}
	for _, line := range b.Summary() {
		p.logger.Info(line)
	}
	if !b.Joins {
		p.systemd.awaits("asks the other members whether this one has run before")
		return first, etcdserver.CheckUnstarted(ctx, p.fetch, p.config.Name, first)
	}
	if !p.config.Raft.AutoPromote {
		p.logger.Warn("--auto-promote=false has no effect on this member, which joins: the flag of the member that leads decides whether this one becomes a voter")
	}
	p.systemd.awaits("asks the members of the cluster who they are, to join it")
	first.Joined, err = p.join(ctx, first.Cluster)
	if ran := (*etcdserver.AlreadyBootstrappedError)(nil); errors.As(err, &ran) && b.Rejoin {
		first.Joined, err = p.rejoin(ctx, first.Joined, first.Cluster)
	}
	return first, err
}

func (p *peering) join(ctx context.Context, cluster map[string][]string) (*etcdserver.Joined, error) {
	same := func(x, y []string) bool { return config.SamePeers(x, y, net.LookupHost) }
	wait := func(why string) { p.logger.Warnf("cannot join the cluster yet: %s", why) }
	return etcdserver.Join(ctx, p.fetch, p.config.Name, cluster, same, wait)
}

// fetch asks a peer URL who the members are.
func (p *peering) fetch(ctx context.Context, peerURL string) (etcdserver.ID, []etcdserver.MemberInfo, error) {
	cluster, remote, err := rafthttp.FetchMembers(ctx, p.client, peerURL)
	if err != nil {
		return 0, nil, err
	}
	var members []etcdserver.MemberInfo
	for _, m := range remote {
		members = append(members, etcdserver.MemberInfo{ID: etcdserver.ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return etcdserver.ID(cluster), members, nil
}
