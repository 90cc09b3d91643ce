package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver/api"
	"canopy/etcdserver/metrics"
	"canopy/internal/disk"
	"canopy/internal/memory"
	"canopy/proxy"
	"canopy/wal"
)

// serveAs runs what the data directory was begun as, and else what the flags
// ask for (B6): a member, or a proxy.
func serveAs(ctx context.Context, c config.Config, systemd *supervisor, logger *logrus.Logger) error {
	begun, err := begunAs(disk.OS{}, c.DataDir)
	if err != nil {
		return err
	}
	wanted := c.Proxy.Mode != config.ProxyOff
	switch {
	case slices.Equal(begun, []string{"proxy"}):
		logger.Info("the server is already initialized as proxy before, starting as etcd proxy...")
		if !wanted && c.Source("proxy").IsSet() {
			logger.Warnf("--proxy=off is ignored: %s belongs to a proxy", c.DataDir)
		}
		wanted = true
	case len(begun) > 0:
		if ran, err := wal.Exists(disk.OS{}, c.LogDir()); err == nil && ran { // or it only waits for others (D24)
			logger.Info("the server is already initialized as member before, starting as etcd member...")
		}
		if wanted {
			logger.Warnf("--proxy=%s is ignored: %s belongs to a member", c.Proxy.Mode, c.DataDir)
		}
		wanted = false
	}
	if wanted {
		finder := bootstrap.New(bootstrap.Options{Config: c, Waiting: systemd.awaits, Log: logger})
		return serveProxy(ctx, c, func(ctx context.Context) ([]string, error) {
			defer systemd.does(proxyServes)
			return finder.PeerURLs(ctx, knowsCluster(c))
		}, systemd, logger)
	}
	err = serve(ctx, c, systemd, logger)
	if full := (*discovery.FullError)(nil); errors.As(err, &full) && c.Discovery.Fallback == "proxy" {
		return becomeProxy(ctx, c, full, systemd, logger)
	}
	return err
}

// becomeProxy runs a proxy to a cluster that had no room for this member.
func becomeProxy(ctx context.Context, c config.Config, full *discovery.FullError, systemd *supervisor, logger *logrus.Logger) error {
	logger.Warn("discovery cluster full, falling back to proxy: this process does not become a member (--discovery-fallback)")
	if err := bootstrap.MakeProxyDir(c); err != nil {
		return err
	}
	c.Proxy.Mode = config.ProxyOn
	members := func(context.Context) ([]string, error) { return bootstrap.PeerURLs(full.Members), nil }
	return serveProxy(ctx, c, members, systemd, logger)
}

// begunAs gives what a data directory holds of "member" and "proxy".
func begunAs(fsys disk.FS, dir string) ([]string, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into the data directory: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name != "member" && name != "proxy" }), nil
}

// serveProxy runs a proxy and its HTTP servers until ctx ends or one of them
// fails. firstPeers gives the peer URLs by which the cluster is found the first
// time, and may wait for them.
func serveProxy(ctx context.Context, c config.Config, firstPeers func(context.Context) ([]string, error), systemd *supervisor, logger *logrus.Logger) error {
	if err := checkFileLimit(); err != nil {
		return err
	}
	announceProgram(logger)
	collectLess()
	c.ListenPeerURLs = nil // nobody talks to a proxy but clients
	lock, err := lockProxyDir(disk.OS{}, c.DataDir, logger)
	if err != nil {
		return err
	}
	defer lock.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	budget, _ := newMemoryBudget(c, registry, logger) // all that a proxy holds is counted
	options := proxyOptions(c, firstPeers, budget, registry, logger)
	options.FS = patientDisk(ctx, logger)
	p, err := proxy.New(options)
	if err != nil {
		return err
	}
	warnOfUnusedFlags(c, p, logger)
	listeners, err := listenAll(c, logger)
	if err != nil {
		return err
	}
	servers := newServers(c, listeners, capacityOf(fileLimit(), 2, c.HTTP.MaxPerClient), budget, metrics.New(prometheus.NewRegistry()), logger)
	systemd.does(proxyServes)
	servers.client.open(p)
	servers.metrics.open(p.NewMetrics())
	return runProxy(ctx, p, servers, systemd, logger)
}

// proxyServes is what a proxy does that looks for nobody.
const proxyServes = "serves as a proxy"

// proxyGCPercent is for a heap of a few MiB that consists of requests under way:
// to collect it each time it has doubled takes a tenth of the processor.
const proxyGCPercent = 400

// collectLess has garbage collected less often, unless GOGC says when.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(proxyGCPercent)
	}
}

// runProxy runs the proxy behind its servers. When ctx ends things stop in
// order: no new connections, watches end, requests in flight are finished.
func runProxy(ctx context.Context, p *proxy.Proxy, servers *servers, systemd *supervisor, logger *logrus.Logger) error {
	proxyCtx, stopProxy := context.WithCancel(context.Background())
	defer stopProxy()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(servers.serve)
	group.Go(func() error { return p.Run(proxyCtx) })
	group.Go(func() error {
		<-ctx.Done()
		logger.Infof("shutting down: %v; no new connections, open requests are finished", context.Cause(ctx))
		servers.drain(p, logger)
		stopProxy()
		return servers.close()
	})
	systemd.serves() // it answers, with 503 if there is no member yet
	logger.Info("ready to serve client requests")
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
	o := proxy.Options{
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
		Log:             logger,
	}
	if log := accessLog(c.HTTP.AccessLog, logger); log != nil {
		o.AccessLog = func(a proxy.Access) {
			log(api.Access{Method: a.Method, Path: a.Path, RemoteAddr: a.RemoteAddr, UserAgent: a.UserAgent, Status: a.Status, Bytes: a.Bytes, Duration: a.Duration})
		}
	}
	return o
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
