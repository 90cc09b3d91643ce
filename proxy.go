package main

import (
	"context"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver/api"
	"canopy/etcdserver/metrics"
	"canopy/internal/certificates"
	"canopy/internal/memory"
	"canopy/internal/ports"
	"canopy/internal/process"
	"canopy/internal/tlsconf"
	"canopy/internal/tuning"
	"canopy/proxy"
	"canopy/proxy/upstream"
)

// becomeProxy runs a proxy to a cluster that had no room for this member.
func becomeProxy(ctx context.Context, c config.Config, full *discovery.FullError, tls *certificates.Certificates, p *process.Process) error {
	p.Log.Warn("discovery cluster full, falling back to proxy: this process does not become a member (--discovery-fallback)")
	if err := bootstrap.MakeProxyDir(c); err != nil {
		return err
	}
	c.Proxy.Mode = config.ProxyOn
	members := func(context.Context) ([]string, error) { return bootstrap.PeerURLs(full.Members), nil }
	tls.WarnOfLending(c)
	return serveProxy(ctx, c, members, tls, p)
}

// serveProxy runs a proxy and its HTTP servers until ctx ends or one of them
// fails. firstPeers gives the peer URLs by which the cluster is found the first
// time, and may wait for them.
func serveProxy(ctx context.Context, c config.Config, firstPeers func(context.Context) ([]string, error), tls *certificates.Certificates, p *process.Process) error {
	if err := process.CheckFileLimit(); err != nil {
		return err
	}
	p.Announce(version)
	tuning.Proxy(c.IsTuned())
	c.ListenPeerURLs = nil // nobody talks to a proxy but clients
	lock, err := bootstrap.LockProxyDir(c.DataDir, p.Log)
	if err != nil {
		return err
	}
	defer lock.Close()
	registry := process.NewRegistry()
	budget, _ := p.MemoryBudget(c.HTTP.MemoryBudget, registry) // all that a proxy holds is counted
	set := metrics.NewProxyHTTP(registry)
	tls.Measure(registry)
	options := proxyOptions(c, firstPeers, budget, registry, p)
	options.TLS, options.ExplainTLS = tls.Peer.Handshake, tlsconf.Fault
	options.FS, options.Refused = p.Disk(ctx), set.Refused
	handler, err := proxy.New(options)
	if err != nil {
		return err
	}
	if handler.KnowsCluster() {
		bootstrap.WarnOfUnusedFlags(c, p.Log)
	}
	ports, err := ports.Open(ports.Options{
		Config:   c,
		TLS:      tls,
		Capacity: ports.CapacityOf(process.FileLimit(), 2, c.HTTP.MaxPerClient),
		Memory:   budget,
		Metrics:  set,
		Fast:     api.IsShort,
		Log:      p.Log,
	})
	if err != nil {
		return err
	}
	p.Systemd.Does(proxyServes)
	ports.Client.Open(handler)
	ports.Metrics.Open(handler.NewMetrics())
	return runProxy(ctx, handler, ports, tls, p)
}

// proxyServes is what a proxy does that looks for nobody.
const proxyServes = "serves as a proxy"

// runProxy runs the proxy behind its ports. When ctx ends things stop in
// order: no new connections, watches end, requests in flight are finished.
func runProxy(ctx context.Context, handler *proxy.Proxy, ports *ports.Ports, tls *certificates.Certificates, p *process.Process) error {
	proxyCtx, stopProxy := context.WithCancel(context.Background())
	defer stopProxy()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(ports.Serve)
	group.Go(func() error { tls.Run(ctx); return nil })
	group.Go(func() error { return handler.Run(proxyCtx) })
	group.Go(func() error {
		<-ctx.Done()
		p.Log.Infof("shutting down: %v; no new connections, open requests are finished", context.Cause(ctx))
		ports.Drain(handler)
		stopProxy()
		return ports.Close()
	})
	p.Systemd.Serves() // it answers, with 503 if there is no member yet
	p.Log.Info("ready to serve client requests")
	return group.Wait()
}

func proxyOptions(c config.Config, firstPeers func(context.Context) ([]string, error), budget *memory.Budget, registry *prometheus.Registry, p *process.Process) proxy.Options {
	return proxy.Options{
		Options: upstream.Options{
			Dir:             filepath.Join(c.DataDir, "proxy"),
			Peers:           firstPeers,
			FailureWait:     c.Proxy.FailureWait,
			RefreshInterval: c.Proxy.RefreshInterval,
			DialTimeout:     upstream.OrNone(c.Proxy.DialTimeout),
			WriteTimeout:    upstream.OrNone(c.Proxy.WriteTimeout),
			Election:        c.Raft.Election,
			Log:             p.Log,
		},
		Readonly:     c.Proxy.Mode == config.ProxyReadonly,
		ReadTimeout:  c.Proxy.ReadTimeout,
		BodyTimeout:  c.HTTP.BodyTimeout,
		Memory:       budget,
		StartupGrace: c.HTTP.StartupGrace,
		Origins:      c.HTTP.CORS,
		AllowHost:    c.HTTP.Hosts.Allows,
		Registry:     registry,
		AccessLog:    p.AccessLog(c.HTTP.AccessLog),
	}
}
