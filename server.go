package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver"
	"canopy/internal/disk"
	"canopy/internal/process"
	"canopy/internal/tuning"
	"canopy/wal"
)

// runServer runs a member or a proxy, or does what a flag asks for instead.
func runServer(argv, environ []string) (exit int) {
	invocation, err := config.Parse(argv, environ, begunBefore)
	if err != nil {
		return refuse(err)
	}
	switch invocation.Action {
	case config.Help:
		fmt.Print(config.HelpText(usage()))
		return 0
	case config.Version:
		fmt.Print(versionText())
		return 0
	case config.Check:
		return check(invocation)
	}
	c := invocation.Config
	return process.Run(process.Options{Log: c.Log, Notes: invocation.Notes}, func(ctx context.Context, p *process.Process) error {
		if tuned(c) {
			if err := tuning.WidenTimers(); err != nil {
				p.Log.Infof("the timer slack stays as it is: %v; set TimerSlackNSec=1ms in the systemd unit to save processor time", err)
			}
		}
		err := serve(ctx, c, p)
		if removed := (*etcdserver.RemovedError)(nil); errors.As(err, &removed) {
			p.Log.Error(err)
			return nil // exit status 0, so that no supervisor starts it again (M43)
		}
		return err
	})
}

// tuned reports whether the runtime is to be adjusted to the load.
func tuned(c config.Config) bool { return c.RuntimeTuning != "off" }

// serve runs a member or a proxy: what the data directory belongs to, or what
// the flags ask for if it is new (B6).
func serve(ctx context.Context, c config.Config, p *process.Process) error {
	begun, err := begunAs(disk.OS{}, c.DataDir)
	if err != nil {
		return err
	}
	wanted := c.Proxy.Mode != config.ProxyOff
	switch {
	case slices.Equal(begun, []string{"proxy"}):
		p.Log.Info("the server is already initialized as proxy before, starting as etcd proxy...")
		if !wanted && c.Source("proxy").IsSet() {
			p.Log.Warnf("--proxy=off is ignored: %s belongs to a proxy", c.DataDir)
		}
		wanted = true
	case len(begun) > 0:
		if ran, err := wal.Exists(disk.OS{}, c.LogDir()); err == nil && ran { // or it only waits for others (D24)
			p.Log.Info("the server is already initialized as member before, starting as etcd member...")
		}
		if wanted {
			p.Log.Warnf("--proxy=%s is ignored: %s belongs to a member", c.Proxy.Mode, c.DataDir)
		}
		wanted = false
	}
	if wanted {
		finder := bootstrap.New(bootstrap.Options{Config: c, Waiting: p.Systemd.Awaits, Log: p.Log})
		return serveProxy(ctx, c, func(ctx context.Context) ([]string, error) {
			defer p.Systemd.Does(proxyServes)
			return finder.PeerURLs(ctx, knowsCluster(c))
		}, p)
	}
	err = serveMember(ctx, c, p)
	if full := (*discovery.FullError)(nil); errors.As(err, &full) && c.Discovery.Fallback == "proxy" {
		return becomeProxy(ctx, c, full, p)
	}
	return err
}

// begunAs lists which of "member" and "proxy" a data directory contains.
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
