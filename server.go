package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/discovery"
	"canopy/etcdserver"
	"canopy/internal/certificates"
	"canopy/internal/process"
	"canopy/internal/tuning"
)

// runServer runs a member or a proxy, or does what a flag asks for instead.
func runServer(argv, environ []string) (exit int) {
	invocation, err := config.Parse(argv, environ, bootstrap.Begun)
	if err != nil {
		return process.Refuse(err, usage())
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
	if _, err := certificates.Check(c); err != nil {
		return process.Refuse(err, usage())
	}
	return process.Run(process.Options{Log: c.Log, Notes: invocation.Notes}, func(ctx context.Context, p *process.Process) error {
		if c.IsTuned() {
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

// check prints the configuration in force, warnings, and what a start would
// refuse (F61).
func check(invocation config.Invocation) (exit int) {
	if !invocation.Quiet {
		fmt.Print(invocation.Config.Effective())
	}
	warnings, err := certificates.Check(invocation.Config)
	for _, note := range append(invocation.Notes, warnings...) {
		if note.Warning {
			fmt.Fprintln(os.Stderr, "warning: "+note.Text)
		}
	}
	if err := errors.Join(err, bootstrap.Check(invocation.Config)); err != nil {
		return process.Refuse(err, usage())
	}
	return 0
}

// serve runs a member or a proxy: what the data directory belongs to, or what
// the flags ask for if it is new (B6).
func serve(ctx context.Context, c config.Config, p *process.Process) error {
	asProxy, err := bootstrap.AsProxy(c, p.Log)
	if err != nil {
		return err
	}
	tls, err := certificates.Open(c, asProxy, p.Log)
	if err != nil {
		return err
	}
	if asProxy {
		finder := bootstrap.New(bootstrap.Options{Config: c, Waiting: p.Systemd.Awaits, DialTLS: tls.Peer.DialTLS, Log: p.Log})
		return serveProxy(ctx, c, func(ctx context.Context) ([]string, error) {
			defer p.Systemd.Does(proxyServes)
			return finder.PeerURLs(ctx, bootstrap.KnowsCluster(c))
		}, tls, p)
	}
	err = serveMember(ctx, c, tls, p)
	if full := (*discovery.FullError)(nil); errors.As(err, &full) && c.Discovery.Fallback == "proxy" {
		return becomeProxy(ctx, c, full, tls, p)
	}
	return err
}
