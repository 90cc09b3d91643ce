package main

import (
	"context"
	"errors"
	"os"
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
	"canopy/etcdserver/api/cluster"
	"canopy/etcdserver/metrics"
	"canopy/internal/audit"
	"canopy/internal/certificates"
	"canopy/internal/httpserver"
	"canopy/internal/memory"
	"canopy/internal/ports"
	"canopy/internal/process"
	"canopy/internal/tlsconf"
	"canopy/internal/tuning"
	"canopy/rafthttp"
	"canopy/store"
)

// member is a member of a cluster, and what it consists of.
type member struct {
	*process.Process
	config   config.Config
	registry *prometheus.Registry
	metrics  *metrics.Set
	memory   *memory.Budget
	tuning   *tuning.Tuning
	ports    *ports.Ports
	tls      *certificates.Certificates
	audit    *audit.Log // nil: none

	transport *rafthttp.Transport // to the other members; nil until connect
}

// serveMember runs a member and its HTTP servers until ctx ends or one of them fails.
func serveMember(ctx context.Context, c config.Config, tls *certificates.Certificates, p *process.Process) error {
	if err := process.CheckFileLimit(); err != nil {
		return err
	}
	tuning := tuning.New(c.IsTuned())
	p.Announce(version)
	announce(c, p.Log)
	registry := prometheus.NewRegistry()
	set := metrics.New(registry)
	budget, limit := p.MemoryBudget(c.HTTP.MemoryBudget, registry)
	tls.Measure(registry)
	auditLog, err := audit.Open(audit.Options{File: c.HTTP.AuditLog, Reads: c.HTTP.AuditReads, Dropped: set.AuditDropped.Inc, Log: p.Log})
	if err != nil {
		return err
	}
	defer auditLog.Close()
	ports, err := ports.Open(ports.Options{
		Config:   c,
		TLS:      tls,
		Capacity: ports.CapacityOf(process.FileLimit(), 1, c.HTTP.MaxPerClient),
		Memory:   budget,
		Metrics:  set.HTTP,
		Fast:     api.IsFast,
		Early:    promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 1}),
		Log:      p.Log,
	})
	if err != nil {
		return err
	}
	m := &member{Process: p, config: c, registry: registry, metrics: set, memory: budget, tuning: tuning, ports: ports, tls: tls, audit: auditLog}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(ports.Serve)
	group.Go(func() error { process.SampleFiles(ctx, set.FileDescriptors.Set); return nil })
	group.Go(func() error { budget.Watch(ctx, limit); return nil })
	group.Go(func() error { tuning.Run(ctx); return nil })
	group.Go(func() error { tls.Run(ctx); return nil })
	group.Go(func() error { return errors.Join(m.serve(ctx), ports.Close()) })
	return group.Wait()
}

// serve opens the member behind the ports, and runs it.
func (m *member) serve(ctx context.Context) error {
	recovered := m.tuning.DeferGC()
	defer recovered()
	fsys := m.Disk(ctx)
	finder := bootstrap.New(bootstrap.Options{Config: m.config, FS: fsys, Waiting: m.Systemd.Awaits, DialTLS: m.tls.Peer.DialTLS, Log: m.Log})
	options := memberOptions(m.config, m.memory, m.Log)
	options.FS, options.Observer, options.Transport = fsys, m.observer(), m.connect
	options.Bootstrap = func() (etcdserver.Bootstrap, error) { return finder.Members(ctx) }
	m.Systemd.Does("reads its snapshot and log")
	replica, err := etcdserver.Open(options)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		m.Log.Info("stopped during the start")
		return nil
	}
	if err != nil {
		return err
	}
	finder.Done()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		metrics.NewCollector(replica, version))
	handler := api.New(replica, m.apiOptions())
	m.ports.Metrics.Open(handler.NewMetrics())
	m.ports.PeerPool.Prefer(m.transport.Knows)
	m.ports.Peer.Open(m.transport.HandlerWith(cluster.NewPeer(replica)))
	return m.run(ctx, replica, handler, recovered)
}

// connect makes the transport of a member.
func (m *member) connect(self rafthttp.Identity, owner rafthttp.Owner) etcdserver.Transport {
	m.transport = rafthttp.New(rafthttp.Options{
		Self:          self,
		ServerVersion: etcdserver.APIVersion,
		PeerURLs:      m.config.AdvertisePeerURLs.Strings,
		Heartbeat:     m.config.Raft.Heartbeat,
		Election:      m.config.Raft.Election,
		SnapshotRate:  m.config.Raft.SnapshotRate,
		HandshakeDone: httpserver.LeavePool,
		TLS:           m.tls.Peer.Handshake,
		ExplainTLS:    tlsconf.Fault,
		Owner:         owner,
		Observer:      metrics.Transport(m.registry, self.Member),
		Log:           m.Log.WithField("pkg", "rafthttp"),
	})
	return m.transport
}

// announce prints what operators look for at a start (F30).
func announce(c config.Config, logger *logrus.Logger) {
	if c.Storage.UnsafeNoFsync {
		logger.Warn("--unsafe-no-fsync: acknowledged writes will be lost in a power cut")
	}
	for _, line := range c.Summary() {
		logger.Info(line)
	}
}

func memberOptions(c config.Config, budget *memory.Budget, logger *logrus.Logger) etcdserver.Options {
	return etcdserver.Options{
		DataDir:     c.DataDir,
		WALDir:      c.WALDir,
		Name:        c.Name,
		ClientURLs:  c.AdvertiseClientURLs.Strings(),
		AutoPromote: c.Raft.AutoPromote,
		Strict:      c.Raft.StrictReconfigCheck,
		Force:       etcdserver.Force(c.Force), AuthRecovery: c.AuthRecovery,
		PeerURLs:        c.GivenPeerURLs(),
		ForcePeerURLs:   c.ForcedPeerURLs(),
		SamePeers:       bootstrap.SamePeers,
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
		Version:      version,
		Origins:      h.CORS,
		AllowHost:    h.Hosts.Allows,
		Memory:       m.memory,
		FormBytesMax: h.MaxRequestBytes,
		BodyTimeout:  h.BodyTimeout, BcryptCost: h.BcryptCost, CertLogin: h.CertLogin,
		ValueBytesMax: h.MaxValueBytes,
		KeyDepthMax:   h.MaxKeyDepth,
		KeyBytesMax:   h.MaxKeyBytes,
		WatchesMax:    m.config.Watch.Max,
		HealthTimeout: m.config.Raft.Election,
		PprofEnabled:  h.Pprof,
		CommandLine:   config.CommandLine(os.Args),
		FileLimit:     process.FileLimit(),
		SetLogLevel:   m.SetLevel,
		AccessLog:     m.AccessLog(h.AccessLog),
		Audit:         m.audit,
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
		m.Log.Infof("leadership could not be handed over within %v: the other members elect a leader after this one has stopped", limit)
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
	group.Go(func() error { return handler.Run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		m.Log.Infof("shutting down: %v; no new connections, open requests are finished", context.Cause(ctx))
		m.retire(replica)
		m.ports.Drain(handler)
		stopMember()
		return nil
	})
	group.Go(func() error {
		m.Systemd.Does("applies its log")
		if replica.Restored(ctx) == nil {
			if open := m.config.OpenPorts(); len(open) > 0 && replica.Auth().Enabled() {
				m.Log.Warnf("users are enabled, and whoever listens on the network reads their passwords: %v is http", open)
			}
			m.ports.Client.Open(handler)
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
