// Package ports holds the ports of a member or a proxy: for clients, for metrics
// and for other members. It opens them, divides connections among them, and
// serves them until they are drained.
//
// The ports are open from the beginning of a process. What they serve comes
// later, through a Gate for each kind of port.
package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/config"
	"canopy/etcdserver/metrics"
	"canopy/internal/certificates"
	"canopy/internal/httpserver"
	"canopy/internal/httpserver/http1"
	"canopy/internal/memory"
	"canopy/internal/tlsconf"
)

// A stop has two steps (F38): for a moment answers tell clients to go, and then
// the ports are closed and requests in flight are finished.
const (
	leaveTime    = 200 * time.Millisecond
	DrainTimeout = 2 * time.Second
)

// Options are what the ports need.
type Options struct {
	Config   config.Config
	TLS      *certificates.Certificates // of the listeners of https
	Capacity Capacity
	Memory   *memory.Budget           // for connections and requests of clients
	Metrics  *metrics.HTTP            // counts connections
	Fast     func(*http.Request) bool // see httpserver.Options
	Early    http.Handler             // of /metrics until its gate opens; nil: none
	Log      *logrus.Logger
}

// Ports are the open ports of a process.
type Ports struct {
	Client, Metrics, Peer Gate
	PeerPool              *httpserver.Pool // connections to the peer port

	servers []boundServer
	log     *logrus.Logger
}

// boundServer is an HTTP server and its listener.
type boundServer struct {
	server interface {
		Serve(net.Listener) error
		Shutdown(context.Context) error
		Close() error
	}
	listener net.Listener
}

// bound is a Budget or a Pool.
type bound interface {
	Listener(net.Listener) net.Listener
}

// Open binds all configured addresses, or none.
func Open(o Options) (*Ports, error) {
	l, err := listenAll(o.Config, o.Log)
	if err != nil {
		return nil, err
	}
	h := o.Config.HTTP
	p := &Ports{log: o.Log}
	p.Client.hold(h.StartupGrace, h.HeaderTimeout)
	p.Client.early, p.Metrics.early = o.Early, o.Early
	limits := httpserver.Options{
		HeaderBytes:   h.MaxHeaderBytes,
		HeaderTimeout: h.HeaderTimeout,
		IdleTimeout:   h.IdleTimeout,
		HTTP2Disabled: !h.HTTP2,
		Fast:          o.Fast,
		ErrorLog:      func(line string) { o.Log.Debug("http: " + line) },
	}
	clients := newClientBudget(o.Capacity, o.Metrics)
	clients.Bound(o.Memory, httpserver.ConnectionBytes)
	urgent := sparePool(l.client, o.Capacity.urgent, o.Metrics)
	client, peer := secured{o.TLS.Client, o.TLS.ClientFailures}, secured{o.TLS.Peer, o.TLS.PeerFailures}
	p.add(overflow(clients, l.client), serveUrgent(&p.Client), limited(limits, urgent), urgent, client)
	apart := sparePool(l.metrics, o.Capacity.metrics, o.Metrics)
	p.add(l.metrics, &p.Metrics, limited(limits, apart), apart, client)
	p.PeerPool = provisionalPeers(l.peer, o.Capacity, h, o.Metrics)
	p.add(l.peer, &p.Peer, limited(limits, p.PeerPool), p.PeerPool, peer)
	limits.ConnState, limits.Memory = clients.ConnState, o.Memory
	p.add(l.client, &p.Client, limits, clients, client)
	return p, nil
}

// secured is what listeners of https need.
type secured struct {
	certificate *tlsconf.Current
	failures    *tlsconf.Failures
}

// add serves a handler on some listeners. TLS is around what bounds the connections.
func (p *Ports) add(on []socket, h http.Handler, o httpserver.Options, b bound, s secured) {
	for _, each := range on {
		own, listener := o, b.Listener(each.Listener)
		if each.https {
			own.HandshakeFailed = s.failures.Failed
			own.TLS, listener = s.certificate.Server(protocols(o)...), s.certificate.Tracked(listener)
		}
		p.servers = append(p.servers, boundServer{httpserver.New(h, own), listener})
	}
}

// protocols are those that TLS offers; none: all.
func protocols(o httpserver.Options) []string {
	if o.HTTP2Disabled {
		return []string{tlsconf.HTTP1}
	}
	return nil
}

// overflow gives the listeners of connections that are beyond the budget of clients: one for http, one for https.
func overflow(clients *httpserver.Budget, on []socket) []socket {
	plain, secure := http1.NewHandover(on[0].Addr()), http1.NewHandover(on[0].Addr())
	clients.Overflow(func(c net.Conn) {
		if slices.ContainsFunc(on, func(s socket) bool { return s.https && s.took(c) }) {
			secure.Give(c)
			return
		}
		plain.Give(c)
	})
	return []socket{{plain, false}, {secure, true}}
}

func newClientBudget(c Capacity, set *metrics.HTTP) *httpserver.Budget {
	refused := func(idle bool) {
		if idle {
			set.Refused("idle connection")
		} else {
			set.Refused("connection")
		}
	}
	budget := httpserver.NewBudget(c.Clients, refused, func(open int) { set.OpenConnections.Set(float64(open)) })
	budget.LimitClients(c.PerClient)
	return budget
}

// Serve accepts connections on all ports until Drain or Close. The first failure
// ends it.
func (p *Ports) Serve() error {
	var group errgroup.Group
	for _, each := range p.servers {
		group.Go(func() error {
			if err := each.server.Serve(each.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve on %s: %w", each.listener.Addr(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Drain sends clients away, closes the handler, which ends watches, and lets
// requests finish for at most DrainTimeout.
func (p *Ports) Drain(handler interface{ Close(context.Context) error }) {
	p.Client.leave()
	time.Sleep(leaveTime)
	ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return handler.Close(ctx) })
	for _, each := range p.servers {
		group.Go(func() error { return each.server.Shutdown(ctx) })
	}
	if err := group.Wait(); err != nil {
		p.log.Warnf("not all requests were finished: %v", err)
	}
}

// Close ends all connections.
func (p *Ports) Close() error {
	var errs []error
	for _, each := range p.servers {
		errs = append(errs, each.server.Close())
	}
	return errors.Join(errs...)
}
