package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/etcdserver"
	"canopy/etcdserver/api"
	"canopy/etcdserver/firststart"
	"canopy/internal/disk"
	"canopy/internal/memory"
	"canopy/rafthttp"
)

// Inside is a store for a service without another one: the only member of a
// cluster, in this process. It is reached only through RoundTrip, and listens on
// no address.
type Inside struct {
	member    *etcdserver.Member
	handler   *api.Handler
	server    *http.Server
	pipes     *pipes
	transport *http.Transport
}

// OpenInside opens and locks the store in a directory, which it makes if
// necessary. Its answers count in a budget; nil: no bound. Call Run or Close.
func OpenInside(fsys disk.FS, dir string, budget *memory.Budget, log *logrus.Logger) (*Inside, error) {
	const name, peer = "discovery", "http://localhost:2380"
	member, err := etcdserver.Open(etcdserver.Options{
		FS: fsys, DataDir: dir, Name: name, Log: log,
		MaxSnapshots: 2, MaxLogs: 2,
		Bootstrap: func() (etcdserver.Bootstrap, error) {
			return etcdserver.Bootstrap{Cluster: map[string][]string{name: {peer}}, Token: name}, nil
		},
		Transport: transport(log, peer),
	})
	if err != nil {
		return nil, err
	}
	if own := firststart.MemberIDOf([]string{peer}, name); member.ID() != own {
		return nil, errors.Join(fmt.Errorf("data directory %s: it belongs to the member %v of a cluster, and not to a discovery service", dir, member.ID()), member.Close())
	}
	i := &Inside{member: member, handler: api.New(member, api.Options{Memory: budget}), pipes: newPipes()}
	i.server = &http.Server{Handler: i.handler}
	i.transport = &http.Transport{DialContext: i.pipes.dial, ResponseHeaderTimeout: storeTimeout, MaxIdleConnsPerHost: idlePerHost}
	return i, nil
}

// transport makes the transport of a member without peers.
func transport(log *logrus.Logger, peer string) func(rafthttp.Identity, rafthttp.Owner) etcdserver.Transport {
	return func(self rafthttp.Identity, owner rafthttp.Owner) etcdserver.Transport {
		return rafthttp.New(rafthttp.Options{
			Self: self, ServerVersion: etcdserver.APIVersion, PeerURLs: func() []string { return []string{peer} },
			Heartbeat: 100 * time.Millisecond, Election: time.Second, Owner: owner, Log: log.WithField("pkg", "rafthttp"),
		})
	}
}

// RoundTrip carries a request to the member.
func (i *Inside) RoundTrip(r *http.Request) (*http.Response, error) { return i.transport.RoundTrip(r) }

// Close closes a store that does not run.
func (i *Inside) Close() error { return i.member.Close() }

// Run serves until ctx ends and the open requests are answered.
func (i *Inside) Run(ctx context.Context) error {
	memberCtx, stop := context.WithCancel(context.Background())
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := i.member.Run(memberCtx)
		if err == nil && memberCtx.Err() == nil {
			err = errors.New("the store ended by itself")
		}
		return err
	})
	group.Go(func() error {
		if err := i.server.Serve(i.pipes); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the store: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		defer stop()
		last, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		i.transport.CloseIdleConnections()
		return errors.Join(i.handler.Close(last), i.server.Close())
	})
	return group.Wait()
}

// pipes is a listener for connections within the process.
type pipes struct {
	offered chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{offered: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.offered <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.offered:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and dialling.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is not an address.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "pipe"} }
