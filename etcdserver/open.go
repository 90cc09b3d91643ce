package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"canopy/etcdserver/applier"
	"canopy/etcdserver/consistency"
	"canopy/etcdserver/datadir"
	"canopy/etcdserver/logclock"
	"canopy/etcdserver/logwriter"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/peerlist"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/raftloop"
	"canopy/etcdserver/replica"
	"canopy/etcdserver/snapshotter"
	"canopy/etcdserver/transfer"
	"canopy/internal/disk"
	"canopy/raft"
	"canopy/rafthttp"
)

// Open recovers a member from its data directory, or makes a new one. It
// starts nothing. The directory is locked until Run returns, or Close is
// called if Run never is.
func Open(o Options) (*Member, error) {
	o = o.withDefaults()
	d := datadir.Dir{FS: o.FS, Root: o.DataDir, WAL: o.WALDir}
	if d.WAL == "" {
		d.WAL = d.UsualWAL()
	}
	logger := memberlog.Early(o.Log)
	lock, err := d.Prepare(logger)
	if err != nil {
		return nil, err
	}
	if err := refuseEnded(d); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := refuseForcedAgain(d, &o, logger); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if room, err := d.FS.Room(d.Snap()); err == nil { // if not, the first write has the error
		o = o.fit(room.Total)
	}
	r, err := datadir.Recover(d, o.recovery(logger))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	m, err := assemble(d, o, r)
	if err != nil {
		return nil, errors.Join(err, r.Log.Close(), lock.Close())
	}
	m.files = append(m.files, lock)
	return m, nil
}

// refuseEnded refuses the directory of a member that must not run again.
func refuseEnded(d datadir.Dir) error {
	why, self, err := d.Ended()
	switch {
	case err != nil:
		return err
	case why == datadir.WasRemoved:
		return &RemovedError{Member: self, Dir: d.Root}
	case why == datadir.WasDamaged:
		return &InconsistentError{Member: self, Dir: d.Root}
	}
	return nil
}

// assembly connects the parts of a member around what was recovered. Its methods are
// called in the order of assemble.
type assembly struct {
	Options
	dir       datadir.Dir
	recovered *datadir.Recovered

	m      *Member
	log    memberlog.Log
	events events

	writer      *logwriter.Writer
	snapshotter *snapshotter.Snapshotter
	apply       *applier.Loop
	raft        *raftloop.Loop
}

func assemble(d datadir.Dir, o Options, r *datadir.Recovered) (*Member, error) {
	m := &Member{
		status: &status{
			self: r.Self(), cluster: r.Cluster(), name: o.Name, started: time.Now(), store: r.State.Store, clock: logclock.New(o.Now()),
		},
		peerFront: &peerFront{},
		ready:     make(chan struct{}), stopped: make(chan struct{}),
	}
	a := &assembly{Options: o, dir: d, recovered: r, m: m, log: memberlog.New(o.Log, m.self, m.cluster, m.title)}
	a.events = events{Log: a.log, observer: &a.Observer, election: o.Election, member: m}
	m.clock.Applied(r.State.Time())
	for _, e := range r.Raft.Entries {
		m.clock.Observe(pending.TimeOf(e))
	}
	machine, err := raft.New(raft.Config{
		ID:             m.self.Raft(),
		ElectionTicks:  int(o.Election / o.Heartbeat),
		HeartbeatTicks: 1,
		NoPreVote:      o.NoPreVote,
		EarlyStart:     o.EarlyStart,
		Random:         o.rng(electionRNG).IntN,
	}, r.Raft)
	if err != nil {
		return nil, fmt.Errorf("etcdserver: the log is no raft log: %w", err)
	}
	now := machine.Status()
	m.machine.Store(&now)
	m.leader.Store(&leadership{since: m.started})
	m.known = knownCommitted(m.self, machine.Configuration(), r.Raft)
	m.transport = o.Transport(a.identity(), m.peerFront)
	a.takeRequests()
	a.writeLog()
	a.applyEntries()
	a.runRaft(machine)
	a.talkToPeers()
	a.listGoroutines()
	a.events.MembersPublished(m.apply.Present())
	a.log.Starting(m.self, m.cluster, r.Fresh, now)
	if len(o.ForcePeerURLs) > 0 {
		a.log.ForcedURLs(m.peers.Forced.Text())
	}
	a.log.Serving(APIVersion, r.State.Members.Version)
	return m, nil
}

// knownCommitted is the last entry that is surely committed. If there is no other voter, that is the last entry of the log.
func knownCommitted(self ID, c raft.Configuration, s raft.State) raft.Index {
	if len(c.Voters) == 1 && c.Voters[0] == self.Raft() {
		return s.Snapshot.Index + raft.Index(len(s.Entries))
	}
	return s.HardState.Commit
}

// identity is how this member identifies itself to others.
func (a *assembly) identity() rafthttp.Identity {
	identity := rafthttp.Identity{Cluster: uint64(a.m.cluster), Member: a.m.self.Raft()}
	copy(identity.Incarnation[:], a.recovered.Identity.Incarnation)
	return identity
}

func (a *assembly) takeRequests() {
	m := a.m
	m.comparison = consistency.New(m.self, a.recovered.Hashes, a.events)
	m.requests = &requests{
		status: m.status, pending: pending.New(a.rng(sessionRNG).Uint64()|1, a.WaitingBytes),
		damage:   &damage{self: m.self, cluster: m.cluster, dir: a.dir, store: m.store, comparison: m.comparison, log: a.log},
		observer: &a.Observer, log: a.log, timeout: a.requestTimeout(), election: a.Election,
	}
	m.changes = &changes{status: m.status, requests: m.requests, rng: func() *rand.Rand { return a.rng(memberRNG) }}
	m.negotiator = newNegotiator(m.status, m.requests, a.log)
	m.removal = &removal{
		self: m.self, cluster: m.cluster, dir: a.dir, pending: m.pending, log: a.log, by: make(chan replica.Removal, 1),
	}
}

func (a *assembly) writeLog() {
	o := logwriter.Options{
		Log: a.recovered.Log, Segment: a.SegmentBytes, InFlightMax: pending.BytesMax, Stopped: a.m.stopped, Events: a.events,
		Room: func() (disk.Room, error) { return a.dir.FS.Room(a.dir.Snap()) },
	}
	if metas, err := a.recovered.Snaps.List(); err == nil && len(metas) > 0 {
		if size, err := a.recovered.Snaps.Size(metas[0]); err == nil { // if not, the next snapshot has a size
			o.Snapshot = size
		}
	}
	a.writer = logwriter.New(o)
	a.m.status.writer = a.writer.Front()
	a.m.files = append(a.m.files, a.writer)
}

func (a *assembly) applyEntries() {
	m := a.m
	a.snapshotter = snapshotter.New(snapshotter.Options{
		Dir: a.recovered.Snaps, Keep: a.MaxSnapshots, KeepLogs: a.MaxLogs, Writer: m.writer, Events: a.events,
		Present: func(ctx context.Context) (replica.Snapshot, error) { return m.apply.Snapshot(ctx) },
	})
	a.apply = applier.New(applier.Options{
		Self: m.self, Cluster: m.cluster, State: a.recovered.State, Clock: m.clock, Pending: m.pending, Comparison: m.comparison,
		Schedule: snapshotter.NewSchedule(a.snapshotter.Front(), snapshotter.ScheduleOptions{
			MinEntries: a.SnapshotEntries, State: a.recovered.Bytes, Growth: a.recovered.Growth, Random: a.rng(snapshotRNG),
		}),
		Events: a.events, Stopped: m.stopped,
	})
	m.apply = a.apply.Front()
}

func (a *assembly) runRaft(machine *raft.Machine) {
	m := a.m
	a.raft = raftloop.New(raftloop.Options{
		Self: m.self, Machine: machine, Clock: m.clock, Interval: a.Heartbeat, CheckEvery: a.CheckEvery,
		Policy: raftloop.Policy{AutoPromote: a.AutoPromote, Strict: a.Strict, Election: a.Election}, Limits: a.queues,
		Pending: m.pending, Transport: m.transport, Writer: m.writer, Apply: m.apply, Events: a.events,
		Generation: a.recovered.Generation, Handed: a.recovered.Handed, Stopped: m.stopped,
	})
	m.raft = a.raft.Front()
}

func (a *assembly) talkToPeers() {
	m := a.m
	var seeds []MemberInfo
	for _, p := range a.recovered.Identity.Seeds {
		seeds = append(seeds, replica.MemberFromProto(p))
	}
	m.peers = peerlist.New(peerlist.Options{
		Self: m.self, Seeds: seeds, Forced: peerlist.NewForced(a.ForcePeerURLs), Restored: m.known, AskEvery: a.Election,
		Present: m.apply.Present, SetPeers: m.transport.SetPeers, Notify: m.raft.Notify,
	})
	*m.peerFront = peerFront{
		self: m.self, peers: m.peers, raft: m.raft, apply: m.apply, comparison: m.comparison, removal: m.removal, log: a.log,
		snapshots: &transfer.Receiver{
			Cluster: m.cluster, Dir: a.recovered.Snaps, Store: a.Store, Space: m.writer.Space(), Apply: m.apply, Raft: m.raft, Events: a.events,
		},
	}
	m.sender = transfer.NewSender(transfer.SenderOptions{
		Raft: m.raft, Apply: m.apply, Snapshotter: a.snapshotter.Front(), Dir: a.recovered.Snaps, Transport: m.transport,
		Interval: a.Heartbeat, Events: a.events,
	})
}

// listGoroutines lists what Member.Run starts.
func (a *assembly) listGoroutines() {
	m := a.m
	publisher := &publisher{
		name: a.Name, peerURLs: a.PeerURLs, clientURLs: a.ClientURLs, incarnation: a.recovered.Identity.Incarnation,
		forced: len(a.ForcePeerURLs) > 0, samePeers: a.SamePeers, status: m.status, requests: m.requests, log: a.log,
		restored: m.Restored, versionKnown: m.negotiator.known, ready: m.ready,
	}
	readdresser := &readdresser{
		forced: m.peers.Forced, dir: a.dir, status: m.status, changes: m.changes, log: a.log, restored: m.Restored,
	}
	m.goroutines = []func(context.Context) error{
		a.writer.Run, a.apply.Run, a.raft.Run, a.snapshotter.Run, m.transport.Run, m.sender.Run,
		sweeper{m.requests}.run, publisher.run, readdresser.run, m.negotiator.run, m.removal.run, m.damage.run,
		newMonitor(m.status, a.Election, a.log).run,
	}
	if a.AuthRecovery {
		recovery := &authRecovery{status: m.status, requests: m.requests, log: a.log, ready: m.ready}
		m.goroutines = append(m.goroutines, recovery.run)
	}
}
