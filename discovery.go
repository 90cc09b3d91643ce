package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"canopy/config"
	"canopy/discovery/service"
	"canopy/internal/certificates"
	"canopy/internal/httpserver"
	"canopy/internal/memory"
	"canopy/internal/ports"
	"canopy/internal/process"
	"canopy/internal/tlsconf"
)

// runDiscovery runs a discovery service.
func runDiscovery(argv, environ []string) (exit int) {
	invocation, err := config.ParseService(argv, environ)
	if err != nil {
		return process.Refuse(err, usage())
	}
	switch invocation.Action {
	case config.Help:
		fmt.Print(config.ServiceHelpText())
		return 0
	case config.Version:
		fmt.Print(versionText())
		return 0
	}
	c := invocation.Service
	return process.Run(process.Options{Log: c.Log, Notes: invocation.Notes}, func(ctx context.Context, p *process.Process) error {
		return serveDiscovery(ctx, c, p)
	})
}

// discoveryStore is where the tokens are kept. Run ends with its context.
type discoveryStore interface {
	http.RoundTripper
	Run(ctx context.Context) error
}

func openDiscoveryStore(ctx context.Context, c config.Service, budget *memory.Budget, p *process.Process) (discoveryStore, error) {
	if len(c.Endpoints) > 0 {
		p.Log.Infof("tokens are kept in the cluster at %v", c.Endpoints)
		return service.NewEndpoints(c.Endpoints)
	}
	p.Log.Infof("tokens are kept in this process, data dir = %s", c.DataDir)
	return service.OpenInside(p.Disk(ctx), c.DataDir, budget, p.Log)
}

// serveDiscovery serves until ctx ends. The store ends last, after all requests.
func serveDiscovery(ctx context.Context, c config.Service, p *process.Process) error {
	files := tlsconf.Files{Cert: tlsconf.File{Flag: "--cert-file", Name: c.CertFile}, Key: tlsconf.File{Flag: "--key-file", Name: c.KeyFile}}
	certificate, err := tlsconf.Open(files, tlsconf.Policy{}, tlsconf.Use{Serves: true}, p.Log)
	if err != nil {
		return err
	}
	listener, err := httpserver.Listen(c.Listen)
	if err != nil {
		return err
	}
	registry := process.NewRegistry()
	held, limit := p.MemoryBudget(c.Memory, registry)
	p.Systemd.Does("opens the store of tokens")
	store, err := openDiscoveryStore(ctx, c, held, p)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	handler := service.New(service.Options{
		Store: store, Host: c.Host, TokenTTL: c.TokenTTL, Rate: float64(c.Rate), NewRate: float64(c.NewRate), Forwarded: c.Forwarded,
		Memory: held, Registry: registry, Log: p.Log,
	})
	room := ports.CapacityOf(process.FileLimit(), 2, 0) // each may need another connection to the store
	budget := httpserver.NewBudget(room.Clients, nil, nil)
	budget.LimitClients(room.PerClient)
	budget.Bound(held, httpserver.ConnectionBytes)
	certificates.MeasureExpiry(registry, certificate)
	failures := certificates.NewHandshakes(registry, p.Log).Of("discovery", certificate)
	limits := httpserver.Options{Memory: held, ConnState: budget.ConnState, TLS: certificate.Server(), HandshakeFailed: failures.Failed, ErrorLog: func(line string) { p.Log.Debug("http: " + line) }}
	server := httpserver.New(handler, limits)
	p.Log.Infof("discovery service listening on %s", listener.Addr())
	p.Systemd.Does("serves tokens")
	p.Systemd.Serves()
	storeCtx, stopStore := context.WithCancel(context.Background())
	defer stopStore()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return store.Run(storeCtx) })
	group.Go(func() error { held.Watch(ctx, limit); return nil })
	group.Go(func() error { certificate.Run(ctx); return nil })
	group.Go(func() error {
		if err := server.Serve(certificate.Tracked(budget.Listener(listener))); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		defer stopStore()
		last, cancel := context.WithTimeout(context.Background(), ports.DrainTimeout)
		defer cancel()
		if err := server.Shutdown(last); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return server.Close() // clients that wait ask again
	})
	return group.Wait()
}
