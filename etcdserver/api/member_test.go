package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
	"canopy/store/watch"
)

// soloMember is a Member around a real store, without a log: it applies a command at once, one after the other.
type soloMember struct {
	// mu is held while a command is applied.
	mu    sync.Mutex
	store *store.Store

	index   atomic.Uint64 // of the last applied command
	started time.Time
	leader  atomic.Uint64 // 0 for none
	failDo  atomic.Pointer[error]
	asked   atomic.Int64 // how often it was told to change something

	auth        atomic.Pointer[auth.State]
	authChanged atomic.Pointer[chan struct{}]

	changed     error  // result of membership changes
	changes     func() // called by each change; nil: not called
	differences []etcdserver.Difference
	followers   []etcdserver.FollowerStats
	traffic     etcdserver.Traffic
}

const soloID etcdserver.ID = 0x2ee3bf4adcf59b4

func newSoloMember(o store.Options) *soloMember {
	m := &soloMember{store: store.New(o), started: time.Now()}
	m.leader.Store(uint64(soloID))
	for range 3 { // a new cluster of one makes these changes by itself (K46)
		m.store.Advance()
	}
	m.store.Publish()
	m.index.Store(4)
	m.auth.Store(&auth.State{})
	m.authChanged.Store(new(make(chan struct{})))
	return m
}

// Snapshot is the tree alone.
func (m *soloMember) Snapshot(context.Context, bool) (etcdserver.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return replica.Assemble(raft.Index(m.index.Load()), 1, m.store, m.auth.Load().Contents()).Snapshot(), nil
}

func (m *soloMember) Auth() *auth.State            { return m.auth.Load() }
func (m *soloMember) AuthChanged() <-chan struct{} { return *m.authChanged.Load() }

func (m *soloMember) ChangeAuth(_ context.Context, _ etcdserver.Origin, op auth.Operation) (auth.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, result, err := m.auth.Load().Apply(op, int64(m.Now()))
	if err != nil {
		return auth.Result{}, err
	}
	m.auth.Store(next)
	close(*m.authChanged.Swap(new(make(chan struct{}))))
	return result, nil
}

func (m *soloMember) DoFor(_ context.Context, _ etcdserver.Origin, c store.Command) (etcdserver.Applied, error) {
	m.asked.Add(1)
	if err := m.failDo.Load(); err != nil {
		return etcdserver.Applied{}, *err
	}
	b, err := store.EncodeCommand(nil, c)
	if err != nil {
		return etcdserver.Applied{}, err
	}
	if c, err = store.DecodeCommand(b); err != nil {
		return etcdserver.Applied{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Now()
	m.store.Expire(now, 1000)
	event, err := m.store.Apply(now, c)
	m.store.Publish()
	for m.store.Wake() {
	}
	index := m.index.Add(1)
	if err != nil {
		return etcdserver.Applied{}, err
	}
	return etcdserver.Applied{Event: event, RaftIndex: index, RaftTerm: 2}, nil
}

func (m *soloMember) Read(context.Context, bool) (*store.View, error) { return m.store.View(), nil }

func (m *soloMember) Watch(k store.Key, o watch.Options) (*watch.Watcher, error) {
	return m.store.Watch(k, o)
}

func (m *soloMember) CountGet(ok bool)                     { m.store.CountGet(ok) }
func (m *soloMember) Now() store.Time                      { return store.Time(time.Now().UnixNano()) }
func (m *soloMember) Position() (uint64, uint64)           { return m.index.Load(), 2 }
func (m *soloMember) ClusterID() etcdserver.ID             { return 0x4add5 }
func (m *soloMember) ID() etcdserver.ID                    { return soloID }
func (m *soloMember) Leader() etcdserver.ID                { return etcdserver.ID(m.leader.Load()) }
func (m *soloMember) LeaderSince() time.Time               { return m.started }
func (m *soloMember) ClusterVersion() string               { return "2.3.0" }
func (m *soloMember) StartTime() time.Time                 { return m.started }
func (m *soloMember) StoreStats() store.Stats              { return m.store.Stats() }
func (m *soloMember) Differences() []etcdserver.Difference { return m.differences }

func (m *soloMember) Members() []etcdserver.MemberInfo {
	return []etcdserver.MemberInfo{{
		ID: soloID, Name: "m1", PeerURLs: []string{"http://127.0.0.1:2380"},
		ClientURLs: []string{"http://127.0.0.1:2379", "http://127.0.0.1:4001"},
	}}
}

// change is the body of all membership changes.
func (m *soloMember) change() error {
	m.asked.Add(1)
	if m.changes != nil {
		m.changes()
	}
	return m.changed
}

func (m *soloMember) AddMember(_ context.Context, peerURLs []string) (etcdserver.MemberInfo, error) {
	return etcdserver.MemberInfo{ID: 0xabc, PeerURLs: peerURLs}, m.change()
}

func (m *soloMember) UpdateMember(context.Context, etcdserver.ID, []string) error { return m.change() }
func (m *soloMember) PromoteMember(context.Context, etcdserver.ID) error          { return m.change() }
func (m *soloMember) RemoveMember(context.Context, etcdserver.ID) error           { return m.change() }
func (m *soloMember) Followers() []etcdserver.FollowerStats                       { return m.followers }
func (m *soloMember) Traffic() etcdserver.Traffic                                 { return m.traffic }

func (m *soloMember) Consensus() etcdserver.Consensus {
	index := m.index.Load()
	self := etcdserver.Progress{ID: m.ID(), Next: 1, Mode: etcdserver.ProgressReplicating}
	return etcdserver.Consensus{Role: etcdserver.RoleLeader, Term: 2, Committed: index, Applied: index, Progress: []etcdserver.Progress{self}}
}

func (m *soloMember) Health(context.Context) error {
	if m.leader.Load() == 0 {
		return errors.New("no leader")
	}
	return nil
}

func (m *soloMember) HistoryRange() (oldest, newest store.Index) { return m.store.HistoryRange() }
