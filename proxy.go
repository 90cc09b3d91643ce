package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver/metrics"
	"canopy/internal/disk"
	"canopy/internal/memory"
	"canopy/internal/process"
	"canopy/internal/tuning"
	"canopy/proxy"
)

// becomeProxy runs a proxy to a cluster that had no room for this member.
func becomeProxy(ctx context.Context, c config.Config, full *discovery.FullError, p *process.Process) error {
	p.Log.Warn("discovery cluster full, falling back to proxy: this process does not become a member (--discovery-fallback)")
	if err := bootstrap.MakeProxyDir(c); err != nil {
		return err
	}
	c.Proxy.Mode = config.ProxyOn
	members := func(context.Context) ([]string, error) { return bootstrap.PeerURLs(full.Members), nil }
	return serveProxy(ctx, c, members, p)
}

// serveProxy runs a proxy and its HTTP servers until ctx ends or one of them
// fails. firstPeers gives the peer URLs by which the cluster is found the first
// time, and may wait for them.
func serveProxy(ctx context.Context, c config.Config, firstPeers func(context.Context) ([]string, error), p *process.Process) error {
	if err := process.CheckFileLimit(); err != nil {
		return err
	}
	announceProgram(p.Log)
	tuning.Proxy(tuned(c))
	c.ListenPeerURLs = nil // nobody talks to a proxy but clients
	lock, err := lockProxyDir(disk.OS{}, c.DataDir, p.Log)
	if err != nil {
		return err
	}
	defer lock.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	budget, _ := p.MemoryBudget(c.HTTP.MemoryBudget, registry) // all that a proxy holds is counted
	options := proxyOptions(c, firstPeers, budget, registry, p.Log)
	options.FS = p.Disk(ctx)
	handler, err := proxy.New(options)
	if err != nil {
		return err
	}
	warnOfUnusedFlags(c, handler, p.Log)
	listeners, err := listenAll(c, p.Log)
	if err != nil {
		return err
	}
	servers := newServers(c, listeners, capacityOf(process.FileLimit(), 2, c.HTTP.MaxPerClient), budget, metrics.New(prometheus.NewRegistry()), p.Log)
	p.Systemd.Does(proxyServes)
	servers.client.open(handler)
	servers.metrics.open(handler.NewMetrics())
	return runProxy(ctx, handler, servers, p)
}

// proxyServes is what a proxy does that looks for nobody.
const proxyServes = "serves as a proxy"

// runProxy runs the proxy behind its servers. When ctx ends things stop in
// order: no new connections, watches end, requests in flight are finished.
func runProxy(ctx context.Context, handler *proxy.Proxy, servers *servers, p *process.Process) error {
	proxyCtx, stopProxy := context.WithCancel(context.Background())
	defer stopProxy()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(servers.serve)
	group.Go(func() error { return handler.Run(proxyCtx) })
	group.Go(func() error {
		<-ctx.Done()
		p.Log.Infof("shutting down: %v; no new connections, open requests are finished", context.Cause(ctx))
		servers.drain(handler, p.Log)
		stopProxy()
		return servers.close()
	})
	p.Systemd.Serves() // it answers, with 503 if there is no member yet
	p.Log.Info("ready to serve client requests")
	return group.Wait()
}

// lockProxyDir makes the data directory of a proxy, and takes it for this
// process (B7).
func lockProxyDir(fsys disk.FS, dir string, logger *logrus.Logger) (io.Closer, error) {
	if err := fsys.MkdirAll(filepath.Join(dir, "proxy")); err != nil {
		return nil, fmt.Errorf("make the data directory of a proxy: %w", err)
	}
	tightened, err := fsys.Secure(dir)
	if err != nil {
		return nil, fmt.Errorf("others can read %s, chmod 0700 it: %w", dir, err)
	}
	if tightened {
		logger.Warnf("others could read %s; its mode is 0700 now", dir)
	}
	return fsys.Lock(filepath.Join(dir, "lock"))
}

func proxyOptions(c config.Config, firstPeers func(context.Context) ([]string, error), budget *memory.Budget, registry *prometheus.Registry, logger *logrus.Logger) proxy.Options {
	orNone := func(t time.Duration) time.Duration {
		if t == 0 {
			return -1
		}
		return t
	}
	return proxy.Options{
		Dir:             filepath.Join(c.DataDir, "proxy"),
		Peers:           firstPeers,
		Readonly:        c.Proxy.Mode == config.ProxyReadonly,
		FailureWait:     c.Proxy.FailureWait,
		RefreshInterval: c.Proxy.RefreshInterval,
		DialTimeout:     orNone(c.Proxy.DialTimeout),
		WriteTimeout:    orNone(c.Proxy.WriteTimeout),
		ReadTimeout:     c.Proxy.ReadTimeout,
		Election:        c.Raft.Election,
		BodyTimeout:     c.HTTP.BodyTimeout,
		Memory:          budget,
		StartupGrace:    c.HTTP.StartupGrace,
		Origins:         c.HTTP.CORS,
		AllowHost:       c.HTTP.Hosts.Allows,
		Registry:        registry,
		AccessLog:       accessLog(c.HTTP.AccessLog, logger),
		Log:             logger,
	}
}

// warnOfUnusedFlags tells that the list of peers that was kept counts (P5).
func warnOfUnusedFlags(c config.Config, p *proxy.Proxy, logger *logrus.Logger) {
	if !p.KnowsCluster() {
		return
	}
	for _, flag := range []string{"discovery", "discovery-srv", "initial-cluster"} {
		if c.Source(flag).IsSet() {
			logger.Warnf("--%s is ignored, since the proxy knows its cluster; delete %s to move it to another one", flag, filepath.Join(c.DataDir, "proxy"))
		}
	}
}
