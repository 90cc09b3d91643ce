// Package etcdserver is a member of a cluster: it joins the raft machine, the
// log and the snapshots on disk, and the store into one replicated state.
//
//	Do ──▶ raft loop ──▶ log writer          (batches, one sync each)
//	          ▲   │          │ durable
//	          └───┼──────────┘
//	              ▼
//	          apply loop ──▶ store, waiters, watchers
//	              │
//	              └──▶ snapshotter
//
// Between members the transport carries raft's messages, requests on their way
// to the leader (propose.go), and snapshots (install.go).
//
// There is one door, Do, for keys, membership, versions and expiry; one log;
// and one loop that applies. A read takes the store's present view and touches
// nothing else; a linearizable one first asks the raft loop for a read index.
//
// Each loop is a function that blocks until it fails or its context ends. Run
// starts them and waits for all of them.
package etcdserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"canopy/etcdserver/datadir"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/replica"
	"canopy/internal/disk"
	"canopy/internal/lasting"
	"canopy/raft"
	"canopy/rafthttp"
	"canopy/store"
	"canopy/wal"
)

// Options say what a member is. Zero fields have the defaults of flags.md,
// except those without which there is no member.
type Options struct {
	FS      disk.FS // the file system; required
	DataDir string  // required
	WALDir  string  // "": member/wal in the data directory, or where it was before (B8)

	Name       string    // required
	PeerURLs   []string  // as the others reach it; what counts is what the cluster knows
	SamePeers  SamePeers // compares PeerURLs with what the cluster knows; nil: as text
	ClientURLs []string  // published to the cluster

	// ForcePeerURLs are where members are dialled, by name or id, until the list of members has these URLs.
	ForcePeerURLs map[string][]string

	Bootstrap func() (Bootstrap, error) // asked at the first start only (B10); required

	// Transport makes what carries messages to other members, and brings theirs to the owner; required.
	Transport   func(self rafthttp.Identity, owner rafthttp.Owner) Transport
	AutoPromote bool // a learner that has caught up becomes a voter by itself
	Strict      bool // membership changes that endanger the quorum are refused; else warned about
	Force       Force
	CheckEvery  time.Duration // between comparisons of the members' states; default 10 s

	Heartbeat time.Duration // one tick of raft; default 100 ms
	Election  time.Duration // default 1 s

	SnapshotEntries uint64 // entries between snapshots at least; default 10,000
	MaxSnapshots    int    // files kept; 0: all
	MaxLogs         int    // log segments kept; 0: all
	SegmentBytes    int64  // size of a log segment; default that of wal
	WaitingBytes    int    // of the requests that wait for the log; default 512 MiB, which is the most
	NoSync          bool   // acknowledged writes may be lost in a power cut
	NoPreVote       bool
	EarlyStart      bool // the election clock is put forward at the start; not with NoPreVote

	Store    store.Options
	Now      func() time.Time // the wall clock, looked at when the member is opened; default time.Now
	Seed     uint64           // of what is random and no secret, different at each start of any member; 0: chosen
	Observer Observer
	Log      *logrus.Logger // required
}

// SamePeers tells whether two lists of peer URLs lead to the same places. It may ask DNS until ctx ends; what cannot be
// found out is taken for the same.
type SamePeers func(ctx context.Context, x, y []string) bool

// Bootstrap says who the first members of a new cluster are, or which running
// cluster is joined.
type Bootstrap struct {
	Cluster map[string][]string // peer URLs by name; the member's own name is among them
	Token   string              // goes into all ids (B17)
	IDs     map[string]ID       // by name, where others have decided them (D25); nil: derived from URLs and Token
	Joined  *Joined             // not nil: the cluster runs, and was asked (B31)
}

func (o Options) withDefaults() Options {
	if o.Heartbeat == 0 {
		o.Heartbeat = 100 * time.Millisecond
	}
	if o.Election == 0 {
		o.Election = time.Second
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if o.CheckEvery == 0 {
		o.CheckEvery = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.SnapshotEntries == 0 {
		o.SnapshotEntries = 10_000
	}
	if o.WaitingBytes == 0 {
		o.WaitingBytes = waiterShards * shardBytesMax
	}
	return o
}

// Who uses random numbers has a source of its own, since each is used by another goroutine.
const (
	electionRNG = iota
	sessionRNG
	snapshotRNG
	memberRNG
	incarnationRNG
)

func (o Options) rng(user uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, user)) }

// newIncarnation tells the lives of one member apart, and no more than that.
func (o Options) newIncarnation() []byte {
	rng := o.rng(incarnationRNG)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rng.Uint64()), rng.Uint64())
}

// recovery is what recovering a data directory needs to know.
func (o Options) recovery(logger memberLog) datadir.Options {
	return datadir.Options{
		WAL: wal.Options{SegmentBytes: o.SegmentBytes, NoSync: o.NoSync}, WALGiven: o.WALDir != "", Store: o.Store,
		Begin: o.begin, NewIncarnation: o.newIncarnation, PeerURLs: o.PeerURLs, Force: o.Force,
		Log: logger, Unusable: o.Observer.snapshotUnusable,
	}
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

// requestTimeout is how long a request may wait for its entry (K121).
func (o Options) requestTimeout() time.Duration { return 5*time.Second + 2*o.Election }

// Member is one member of a cluster. Its methods may be called by any
// goroutine, once Run has been called.
type Member struct {
	options     Options
	self        ID
	cluster     ID
	incarnation []byte // of the data directory
	seeds       []MemberInfo
	dir         datadir.Dir
	log         memberLog
	lock        io.Closer

	firstIncarnations firstIncarnations
	provisional       provisionalPeers
	forced            forcedURLs
	damaged           atomic.Bool // the state must not be served
	leave             leaving
	peers             Transport
	store             *store.Store
	clock             *logClock
	waiters           *waiters
	raft              *raftLoop
	writer            *logWriter
	apply             *applyLoop
	snapshot          *snapshotter
	snapshotSender    *snapshotSender

	started time.Time
	known   raft.Index // up to where the log was known to be committed then
	leader  atomic.Pointer[leadership]
	status  atomic.Pointer[raft.Status]

	versionMayChange chan struct{} // has room for one
	versionKnown     chan struct{} // closed once the cluster version is decided
	versionOnce      sync.Once

	ready   chan struct{} // closed once the member has published itself, and the version is known
	stopped chan struct{} // closed when the loops have ended
}

// leadership is what the member knows of the leader.
type leadership struct {
	leader ID // 0: unknown
	self   bool
	term   raft.Term
	since  time.Time
}

// Open recovers a member from its data directory, or makes a new one. It
// starts nothing. The directory is locked until Run returns, or Close is
// called if Run never is.
func Open(o Options) (*Member, error) {
	o = o.withDefaults()
	d := datadir.Dir{FS: o.FS, Root: o.DataDir, WAL: o.WALDir}
	if d.WAL == "" {
		d.WAL = d.UsualWAL()
	}
	logger := memberLog{entry: logrus.NewEntry(o.Log)}
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
	if room, err := d.FS.Room(d.Snap()); err == nil { // else the writing will tell
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
	m.lock = lock
	return m, nil
}

// assemble connects the loops around what was recovered.
func assemble(d datadir.Dir, o Options, r *datadir.Recovered) (*Member, error) {
	m := &Member{
		options: o, self: r.Self(), cluster: r.Cluster(), incarnation: r.Identity.Incarnation, dir: d,
		store: r.State.Store, clock: newLogClock(o.Now()), waiters: newWaiters(o.rng(sessionRNG).Uint64() | 1), leave: newLeaving(),
		versionMayChange: make(chan struct{}, 1), versionKnown: make(chan struct{}),
		started: time.Now(), ready: make(chan struct{}), stopped: make(chan struct{}),
	}
	m.waiters.bytesMax = o.WaitingBytes / waiterShards
	m.firstIncarnations.seen = map[raft.MemberID][16]byte{}
	m.forced = newForcedURLs(o.ForcePeerURLs)
	for _, p := range r.Identity.Seeds {
		m.seeds = append(m.seeds, replica.MemberFromProto(p))
	}
	m.clock.applied(r.State.Time())
	for _, e := range r.Raft.Entries {
		m.clock.observe(stampOf(e))
	}
	m.log = newMemberLog(o.Log, m.self, m.cluster, m.title)
	m.leader.Store(&leadership{since: m.started})
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
	status := machine.Status()
	m.status.Store(&status)
	m.known = knownCommitted(m.self, machine.Configuration(), r.Raft)
	m.peers = o.Transport(m.identity(), m)
	m.writer = newLogWriter(r.Log, m.newSpace(r), &o.Observer)
	m.assembleApply(o, r)
	m.assembleRaft(o, r, machine)
	m.snapshotSender = &snapshotSender{
		loop: m.raft, apply: m.apply, snapshot: m.snapshot, peers: m.peers, log: m.log, orders: newInbox[order](orderQueue),
	}
	m.membersChanged(m.apply.present.Load())
	m.log.starting(m.self, m.cluster, r.Fresh, status)
	if len(o.ForcePeerURLs) > 0 {
		m.log.forcedURLs(m.forced.text())
	}
	m.log.serving(r.State.Members.Version)
	return m, nil
}

// knownCommitted is up to where a log is committed for sure. A lone voter need not ask anybody: all of its log is.
func knownCommitted(self ID, c raft.Configuration, s raft.State) raft.Index {
	if len(c.Voters) == 1 && c.Voters[0] == self.Raft() {
		return s.Snapshot.Index + raft.Index(len(s.Entries))
	}
	return s.HardState.Commit
}

// identity is what this member tells others of itself.
func (m *Member) identity() rafthttp.Identity {
	identity := rafthttp.Identity{Cluster: uint64(m.cluster), Member: m.self.Raft()}
	copy(identity.Incarnation[:], m.incarnation)
	return identity
}

// newSpace watches the disk of the snapshots, of which one may have been recovered.
func (m *Member) newSpace(r *datadir.Recovered) *space {
	s := newSpace(m.options.SegmentBytes)
	s.room = func() (disk.Room, error) { return m.dir.FS.Room(m.dir.Snap()) }
	s.stopped = m.stopped
	if metas, err := r.Snaps.List(); err == nil && len(metas) > 0 {
		if size, err := r.Snaps.Size(metas[0]); err == nil { // if not, the next one tells
			s.snapshot.Store(size)
		}
	}
	return s
}

func (m *Member) assembleApply(o Options, r *datadir.Recovered) {
	compare := newConsistency(m.self, m.tellHash, m.log.differs)
	compare.own = r.Hashes
	m.snapshot = &snapshotter{
		dir: r.Snaps, observer: &o.Observer, log: m.log,
		minEntries: o.SnapshotEntries, keep: o.MaxSnapshots, keepLogs: o.MaxLogs, state: r.Bytes, growth: r.Growth,
		rng: o.rng(snapshotRNG), jobs: make(chan snapshotJob), finished: make(chan int64, 1), releases: m.writer.releases,
	}
	m.apply = &applyLoop{
		self: m.self, cluster: m.cluster,
		state: r.State, store: r.State.Store, clock: m.clock, waiters: m.waiters, observer: &o.Observer, snapshot: m.snapshot, compare: compare, log: m.log,
		changed: m.membersChanged,
		batches: make(chan applyWork), demands: make(chan chan<- snapshotJob), deadlineChanged: make(chan struct{}, 1),
		calls: newInbox[func()](changesMax),
		told:  r.State.Members, time: r.State.Time(),
	}
	head := r.State.Head
	m.snapshot.space, m.snapshot.demands = m.writer.space, m.apply.demands
	m.apply.present.Store(&head)
	m.apply.waits.applied = head.Index
	m.store.Publish()
}

func (m *Member) assembleRaft(o Options, r *datadir.Recovered, machine *raft.Machine) {
	m.raft = &raftLoop{
		self: m.self, machine: machine, clock: m.clock, interval: o.Heartbeat, observer: &o.Observer, log: m.log,
		policy:  changePolicy{autoPromote: o.AutoPromote, strict: o.Strict, election: o.Election},
		waiters: m.waiters, peers: m.peers, writer: m.writer, apply: m.apply,
		proposals:  newInbox[proposal](proposalQueue).weighing(proposal.size, proposalBytes),
		reads:      newInbox[readRequest](readQueue),
		calls:      newInbox[func()](callQueue),
		inbound:    make(chan inbound, inboundQueue),
		room:       semaphore.NewWeighted(inboundBytes),
		reading:    readQueues{under: map[uint64][]readRequest{}},
		requests:   requestQueue{heldMax: heldMax, checkTicks: int(o.CheckEvery / o.Heartbeat)},
		followers:  newFollowers(),
		generation: r.Generation, handed: r.Handed,
		events: loopEvents{
			leader: m.leaderChanged,
			status: func(s raft.Status) { m.status.Store(&s) },
			ship:   m.ship,
		},
	}
}

// ship orders a snapshot for a member.
func (m *Member) ship(to raft.MemberID, message raft.Snapshot) {
	if m.damaged.Load() || !m.snapshotSender.orders.put(order{to, message}) {
		m.raft.calls.put(func() { m.raft.machine.SnapshotSent(to, false) })
	}
}

// Run runs the member until ctx ends, which is the orderly stop (nil), or
// until something fails that it must not outlive.
func (m *Member) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{
		m.writer.run, m.apply.run, m.raft.run, m.snapshot.run, m.snapshotSender.run, m.peers.Run,
		m.sweep, m.publish, m.readdress, m.negotiate, m.endAfterRemoval, m.endIfDamaged, m.watchOver,
	} {
		group.Go(func() error { return loop(ctx) })
	}
	err := group.Wait()
	m.waiters.close()
	close(m.stopped)
	if errors.Is(err, errLoopDone) {
		err = nil
	}
	return errors.Join(err, m.Close())
}

// Close releases the files of a member that is not running.
func (m *Member) Close() error {
	return errors.Join(m.writer.log.Close(), m.lock.Close())
}

// Ready is closed once the member has published itself to the cluster: it
// serves now.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Restored waits until all is applied that was known to be committed when the member was opened, which needs no other
// member (B13). A read before that would be of an older state than what was answered before the restart, and a watch
// would take the past for news. The error is that of ctx, or ErrStopped.
func (m *Member) Restored(ctx context.Context) error {
	return m.apply.waits.wait(ctx, m.known, m.stopped)
}

// Stopped is closed when the member has stopped.
func (m *Member) Stopped() <-chan struct{} { return m.stopped }

// publish publishes the member's name and URLs. It tries until it has
// succeeded (M4). That the others look for the member elsewhere may be why it
// does not succeed, so that is said before.
func (m *Member) publish(ctx context.Context) error {
	if m.Restored(ctx) != nil {
		return nil
	}
	compared := m.comparePeerURLs(ctx)
	publish := &pb.Request{Publish: &pb.Attributes{
		Member: uint64(m.self), Name: m.options.Name, ClientUrls: m.options.ClientURLs,
		Incarnation: m.incarnation, ServerVersion: APIVersion,
	}}
	if err := m.persist(ctx, publish); err != nil {
		return nil
	}
	m.log.published(m.options.Name, m.options.ClientURLs, m.cluster)
	if !compared {
		m.comparePeerURLs(ctx)
	}
	for _, other := range m.Members() {
		if other.Name == m.options.Name && other.ID != m.self {
			m.log.sameName(other.Name, m.self, other.ID)
		}
	}
	select {
	case <-m.versionKnown:
		close(m.ready)
	case <-ctx.Done():
	}
	return nil
}

// comparePeerURLs warns if the cluster knows this member at other URLs than
// those given. False: the log has not told of this member yet.
func (m *Member) comparePeerURLs(ctx context.Context) bool {
	own, known := m.apply.present.Load().Members.Members[m.self]
	given := m.options.PeerURLs
	if !known {
		return false
	}
	same := len(given) == 0 || len(m.options.ForcePeerURLs) > 0 || slices.Equal(own.PeerURLs, slices.Sorted(slices.Values(given)))
	if !same && m.options.SamePeers != nil {
		same = m.options.SamePeers(ctx, own.PeerURLs, given)
	}
	if !same {
		m.log.otherPeerURLs(own.PeerURLs, given)
	}
	return true
}

// persist proposes r until it is applied or ctx ends.
func (m *Member) persist(ctx context.Context, r *pb.Request) error {
	var failing lasting.Condition
	for {
		_, err := m.propose(ctx, r, false)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if moment, lasted := failing.Observe(true, time.Now()); moment != lasting.Quiet {
			m.log.unpublished(lasted, err, m.reach())
		}
		select {
		case <-time.After(sweepEvery): // too many requests may wait
		case <-ctx.Done():
		}
	}
}

func (m *Member) leaderChanged(leader raft.MemberID, role raft.Role, term raft.Term) {
	before := m.leader.Load()
	now := &leadership{leader: ID(leader), self: role == raft.Leader, term: term, since: time.Now()}
	m.log.role(role, now.leader, term)
	if before.leader == now.leader && before.self == now.self {
		now.since = before.since
		m.leader.Store(now)
		return
	}
	m.leader.Store(now)
	m.tellLeader(before, now)
	m.options.Observer.leaderChanged(now.leader, now.self)
	m.wakeNegotiation()
}

// tellLeader logs who leads, or who does no more, and in which term that was. A
// leader that hands over was heard just before.
func (m *Member) tellLeader(before, now *leadership) {
	if now.leader != 0 {
		m.log.elected(now.leader, m.self, now.term)
		return
	}
	if silent := m.silence(before, now.since); silent >= m.options.Election*3/4 {
		m.log.lostLeader(before.leader, m.self, before.term, silent, m.reach())
		return
	}
	m.log.resigned(before.leader, m.self, before.term)
}

// assert stops the process when one of our own invariants is broken.
func assert(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("etcdserver: "+format, args...))
	}
}
