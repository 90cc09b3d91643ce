package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/bootstrap"
	"canopy/config"
	"canopy/etcdserver"
	"canopy/etcdserver/api"
	"canopy/etcdserver/metrics"
	"canopy/internal/httpserver"
	"canopy/internal/httpserver/http1"
	"canopy/internal/memory"
	"canopy/internal/middleware"
	"canopy/internal/process"
	"canopy/internal/tuning"
	"canopy/store"
)

// An orderly stop tells clients for a moment that it is near, before ports are
// closed, and then waits for requests in flight (F38).
const (
	leaveTime    = 200 * time.Millisecond
	drainTimeout = 2 * time.Second
)

// member is a member of a cluster, and what it consists of.
type member struct {
	*process.Process
	config   config.Config
	registry *prometheus.Registry
	metrics  *metrics.Set
	memory   *memory.Budget
	tuning   *tuning.Tuning
	servers  *servers
}

// serveMember runs a member and its HTTP servers until ctx ends or one of them fails.
func serveMember(ctx context.Context, c config.Config, p *process.Process) error {
	if err := process.CheckFileLimit(); err != nil {
		return err
	}
	tuning := tuning.New(tuned(c))
	announce(c, p.Log)
	listeners, err := listenAll(c, p.Log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	set := metrics.New(registry)
	budget, limit := p.MemoryBudget(c.HTTP.MemoryBudget, registry)
	servers := newServers(c, listeners, capacityOf(process.FileLimit(), 1, c.HTTP.MaxPerClient), budget, set, p.Log)
	early := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 1})
	servers.client.early, servers.metrics.early = early, early
	m := &member{Process: p, config: c, registry: registry, metrics: set, memory: budget, tuning: tuning, servers: servers}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(servers.serve)
	group.Go(func() error {
		process.SampleFiles(ctx, func(open int) { set.FileDescriptors.Set(float64(open)) })
		return nil
	})
	group.Go(func() error { budget.Watch(ctx, limit); return nil })
	group.Go(func() error { tuning.Run(ctx); return nil })
	group.Go(func() error { return errors.Join(m.serve(ctx), servers.close()) })
	return group.Wait()
}

// serve opens the member behind the servers, and runs it.
func (m *member) serve(ctx context.Context) error {
	recovered := m.tuning.DeferGC()
	defer recovered()
	fsys := m.Disk(ctx)
	finder := bootstrap.New(bootstrap.Options{Config: m.config, FS: fsys, Waiting: m.Systemd.Awaits, Log: m.Log})
	peers := &peers{config: m.config, registry: m.registry, logger: m.Log}
	options := memberOptions(m.config, m.memory, m.Log)
	options.FS, options.Observer, options.Transport = fsys, m.observer(), peers.connect
	options.Bootstrap = func() (etcdserver.Bootstrap, error) { return finder.Members(ctx) }
	m.Systemd.Does("reads its snapshot and log")
	replica, err := etcdserver.Open(options)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		m.Log.Info("stopped before there was a member")
		return nil
	}
	if err != nil {
		return err
	}
	finder.Done()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		api.NewCollector(replica, version))
	handler := api.New(replica, m.apiOptions())
	m.servers.metrics.open(handler.NewMetrics())
	m.servers.peers.Prefer(peers.transport.Knows)
	m.servers.peer.open(peers.handler(api.NewPeer(replica)))
	return m.run(ctx, replica, handler, recovered)
}

// announce prints what operators look for at a start (F30).
func announce(c config.Config, logger *logrus.Logger) {
	announceProgram(logger)
	if c.Storage.UnsafeNoFsync {
		logger.Warn("--unsafe-no-fsync: acknowledged writes will be lost in a power cut")
	}
	for _, line := range c.Summary() {
		logger.Info(line)
	}
}

// announceProgram prints what is true of members and proxies.
func announceProgram(logger *logrus.Logger) {
	logger.Infof("canopy Version: %s", version)
	logger.Infof("Git SHA: %s", revision())
	logger.Infof("setting maximum number of CPUs to %d, total number of available CPUs is %d", runtime.GOMAXPROCS(0), runtime.NumCPU())
}

func memberOptions(c config.Config, budget *memory.Budget, logger *logrus.Logger) etcdserver.Options {
	return etcdserver.Options{
		DataDir:         c.DataDir,
		WALDir:          c.WALDir,
		Name:            c.Name,
		ClientURLs:      c.AdvertiseClientURLs.Strings(),
		AutoPromote:     c.Raft.AutoPromote,
		Strict:          c.Raft.StrictReconfigCheck,
		Force:           etcdserver.Force(c.Force),
		PeerURLs:        givenPeerURLs(c),
		ForcePeerURLs:   forcedPeerURLs(c),
		SamePeers:       samePeers,
		Heartbeat:       c.Raft.Heartbeat,
		Election:        c.Raft.Election,
		NoPreVote:       !c.Raft.PreVote,
		EarlyStart:      c.Raft.AdvanceTicks,
		SnapshotEntries: c.Storage.SnapshotCount,
		MaxSnapshots:    c.Storage.MaxSnapshots,
		MaxLogs:         c.Storage.MaxWALs,
		SegmentBytes:    c.Storage.WALSegmentBytes,
		NoSync:          c.Storage.UnsafeNoFsync,
		Store:           store.Options{HistoryEvents: c.Watch.HistoryEvents, HistoryBytes: c.Watch.HistoryBytes, WatchQueue: c.Watch.Queue, Memory: budget},
		Log:             logger,
	}
}

// forcedPeerURLs are where an operator says that members are.
func forcedPeerURLs(c config.Config) map[string][]string {
	forced := map[string][]string{}
	for name, urls := range c.ForcePeerURLs {
		forced[name] = urls.Strings()
	}
	return forced
}

// givenPeerURLs are the advertised ones, if they were given: they have no
// effect once the cluster knows the member (M24).
func givenPeerURLs(c config.Config) []string {
	if !c.Source("initial-advertise-peer-urls").IsSet() {
		return nil
	}
	return c.AdvertisePeerURLs.Strings()
}

// samePeers compares peer URLs by where they lead: the list may have names where
// this member has addresses, as with DNS. A name that does not resolve proves nothing.
func samePeers(ctx context.Context, x, y []string) bool {
	unsure := false
	lookup := func(host string) ([]string, error) {
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		unsure = unsure || err != nil
		return found, err
	}
	return config.SamePeers(x, y, lookup) || unsure
}

// observer counts what the member reports, and passes the load on to the tuning.
func (m *member) observer() etcdserver.Observer {
	o := m.metrics.Member()
	synced, leaderChanged := o.Synced, o.LeaderChanged
	o.Synced = func(d time.Duration, last uint64) {
		synced(d, last)
		m.tuning.Synced(d, last)
	}
	o.LeaderChanged = func(leader etcdserver.ID, self bool) {
		leaderChanged(leader, self)
		m.tuning.LeaderChanged(leader != 0 && !self)
	}
	return o
}

func (m *member) apiOptions() api.Options {
	h := m.config.HTTP
	return api.Options{
		Version:       version,
		Origins:       h.CORS,
		AllowHost:     h.Hosts.Allows,
		Memory:        m.memory,
		FormBytesMax:  h.MaxRequestBytes,
		BodyTimeout:   h.BodyTimeout,
		ValueBytesMax: h.MaxValueBytes,
		KeyDepthMax:   h.MaxKeyDepth,
		KeyBytesMax:   h.MaxKeyBytes,
		WatchesMax:    m.config.Watch.Max,
		HealthTimeout: m.config.Raft.Election,
		PprofEnabled:  h.Pprof,
		CommandLine:   config.CommandLine(os.Args),
		FileLimit:     process.FileLimit(),
		SetLogLevel:   m.SetLevel,
		AccessLog:     accessLog(h.AccessLog, m.Log),
		Metrics:       m.metrics,
		Gatherer:      m.registry,
	}
}

// retire lets another member lead, if this one does, before it stops (F38).
// From here on this member does not become leader again: another one that stops
// at the same time could hand over to it.
func (m *member) retire(replica *etcdserver.Member) {
	limit := m.config.Raft.Election
	led := replica.IsLeader()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	replica.Retire(ctx)
	switch leads := replica.IsLeader(); {
	case led && !leads:
		m.Log.Infof("leadership was handed over: %s leads", replica.LeaderTitle())
	case leads && len(replica.Status().Configuration.Voters) > 1:
		m.Log.Infof("leadership could not be handed over within %v: those that go on elect a leader once this member is gone", limit)
	}
}

// run runs the member, and calls started once it serves. When ctx ends things
// stop in order: leadership is handed over, no new connections, watches end,
// requests in flight are finished, and then the member, which has nothing left
// to answer.
func (m *member) run(ctx context.Context, replica *etcdserver.Member, handler *api.Handler, started func()) error {
	memberCtx, stopMember := context.WithCancel(context.Background())
	defer stopMember()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := replica.Run(memberCtx)
		if err == nil && memberCtx.Err() == nil {
			err = errors.New("the member ended by itself")
		}
		return err
	})
	group.Go(func() error {
		<-ctx.Done()
		m.Log.Infof("shutting down: %v; no new connections, open requests are finished", context.Cause(ctx))
		m.retire(replica)
		m.servers.drain(handler, m.Log)
		stopMember()
		return nil
	})
	group.Go(func() error {
		m.Systemd.Does("applies its log")
		if replica.Restored(ctx) == nil {
			m.servers.client.open(handler)
			m.Systemd.Reports(func() process.Activity { return activityOf(replica) })
		}
		return nil
	})
	group.Go(func() error {
		select {
		case <-replica.Ready():
			started()
			m.Systemd.Serves()
			m.Log.Info("ready to serve client requests")
			m.tuning.PaceGC(ctx)
			return nil
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

// activityOf describes a member that has applied its log.
func activityOf(m *etcdserver.Member) process.Activity {
	if m.Leader() == 0 {
		return process.Activity{Status: "waits for a leader: " + m.Reach(), Others: true}
	}
	select {
	case <-m.Ready():
		return process.Activity{Status: "serves, " + m.LeaderTitle() + " leads"}
	default:
		return process.Activity{Status: "publishes itself to the cluster: " + m.LeaderTitle() + " leads", Others: true}
	}
}

// servers are the HTTP servers of the process, each with its listener. They
// serve from the beginning, what is behind the gates later.
type servers struct {
	all                   []serverOn
	client, metrics, peer gate
	peers                 *httpserver.Pool // of connections to the peer port
}

type serverOn struct {
	server interface {
		Serve(net.Listener) error
		Shutdown(context.Context) error
		Close() error
	}
	listener net.Listener
}

// newServers makes them, for connections that fit the capacity and the budget of
// memory.
func newServers(c config.Config, l listeners, room capacity, budget *memory.Budget, set *metrics.Set, logger *logrus.Logger) *servers {
	s := &servers{}
	s.client.hold(c.HTTP.StartupGrace, c.HTTP.HeaderTimeout)
	limits := httpserver.Options{
		HeaderBytes:   c.HTTP.MaxHeaderBytes,
		HeaderTimeout: c.HTTP.HeaderTimeout,
		IdleTimeout:   c.HTTP.IdleTimeout,
		HTTP2Disabled: !c.HTTP.HTTP2,
		Fast:          api.IsFast,
		ErrorLog:      func(line string) { logger.Debug("http: " + line) },
	}
	add := func(on []net.Listener, h http.Handler, l httpserver.Options, bound interface {
		Listener(net.Listener) net.Listener
	}) {
		for _, listener := range on {
			server := httpserver.New(h, l)
			s.all = append(s.all, serverOn{server, bound.Listener(listener)})
		}
	}
	clients := connectionBudget(room, set)
	clients.Bound(budget, httpserver.ConnectionBytes)
	urgent, rest := spare(room.urgent, set), http1.NewHandover(l.client[0].Addr())
	clients.Overflow(rest.Give)
	s.all = append(s.all, serverOn{httpserver.New(serveUrgent(&s.client), limited(limits, urgent)), urgent.Listener(rest)})
	apart := spare(room.metrics, set)
	add(l.metrics, &s.metrics, limited(limits, apart), apart)
	s.peers = provisionalPeers(room, c.HTTP, set)
	add(l.peer, &s.peer, limited(limits, s.peers), s.peers)
	limits.ConnState, limits.Memory = clients.ConnState, budget
	add(l.client, &s.client, limits, clients)
	return s
}

func connectionBudget(room capacity, set *metrics.Set) *httpserver.Budget {
	refused := func(idle bool) {
		if idle {
			set.Refused("idle connection")
		} else {
			set.Refused("connection")
		}
	}
	budget := httpserver.NewBudget(room.clients, refused, func(open int) { set.OpenConnections.Set(float64(open)) })
	budget.LimitClients(room.perClient)
	return budget
}

// serve accepts on all listeners until they are shut down; the first failure ends it.
func (s *servers) serve() error {
	var group errgroup.Group
	for _, each := range s.all {
		group.Go(func() error {
			if err := each.server.Serve(each.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve on %s: %w", each.listener.Addr(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// drain sends clients away, ends watches, and lets requests finish for at most
// drainTimeout.
func (s *servers) drain(handler interface{ Close(context.Context) error }, logger *logrus.Logger) {
	s.client.leave()
	time.Sleep(leaveTime)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return handler.Close(ctx) })
	for _, each := range s.all {
		group.Go(func() error { return each.server.Shutdown(ctx) })
	}
	if err := group.Wait(); err != nil {
		logger.Warnf("not all requests were finished: %v", err)
	}
}

// close cuts what is left.
func (s *servers) close() error {
	var errs []error
	for _, each := range s.all {
		errs = append(errs, each.server.Close())
	}
	return errors.Join(errs...)
}

// accessLog gives the function that logs each request, nil if it is off.
func accessLog(on bool, logger *logrus.Logger) func(middleware.Access) {
	if !on {
		return nil
	}
	return func(a middleware.Access) {
		logger.WithFields(logrus.Fields{
			"method": a.Method, "path": a.Path, "remote": a.RemoteAddr, "status": a.Status,
			"bytes": a.Bytes, "duration_seconds": a.Duration.Seconds(), "agent": a.UserAgent,
		}).Info("access")
	}
}
