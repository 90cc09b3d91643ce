package main

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/etcdserver"
	"canopy/etcdserver/metrics"
	"canopy/internal/httpserver"
	"canopy/rafthttp"
)

// peers connects a member to the others over the peer port.
type peers struct {
	config    config.Config
	registry  prometheus.Registerer
	logger    *logrus.Logger
	transport *rafthttp.Transport
}

// connect makes the transport of a member.
func (p *peers) connect(self rafthttp.Identity, owner rafthttp.Owner) etcdserver.Transport {
	for i := range p.config.ListenPeerURLs {
		if u := &p.config.ListenPeerURLs[i]; !bootstrap.IsLoopback(u.Hostname()) {
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
		Welcomed:      httpserver.LeavePool,
		Owner:         owner,
		Observer:      metrics.Transport(p.registry, self.Member),
		Log:           p.logger.WithField("pkg", "rafthttp"),
	})
	return p.transport
}

// handler serves the peer port: members, and other programs on all other paths.
func (p *peers) handler(others http.Handler) http.Handler {
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
