package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/replica"
	"canopy/internal/lasting"
	"canopy/raft"
	"canopy/snap"
)

// installation is a whole state that replaces the one there is.
type installation struct {
	state *replica.State
	bytes int64 // of the snapshot, before compression
}

// applyWork is what the apply loop does at once: first the installation, if
// there is one, then the entries.
type applyWork struct {
	install *installation
	entries []raft.Entry
}

func (w applyWork) empty() bool { return w.install == nil && len(w.entries) == 0 }

// ReceiveSnapshot stores a snapshot that the leader sends, loads it beside the
// present state, and lets raft decide whether it takes its place. It returns
// when raft has. A failure that is this member's own stops it; a snapshot that
// cannot be read or loaded is refused, and nothing is changed.
func (m *Member) ReceiveSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, body io.Reader) error {
	meta := snap.Meta{Term: uint64(message.Meta.Term), Index: uint64(message.Meta.Index)}
	var prepared *installation
	if message.Meta.Index > m.apply.present.Load().Index {
		err := m.snapshot.dir.Import(meta, body, func(r io.Reader) (err error) {
			prepared, err = m.load(r, message.Meta)
			return err
		})
		if errors.Is(err, snap.ErrUnusable) {
			m.log.spoiledOnArrival(message.Meta.Index, err)
			m.options.Observer.snapshotUnusable()
		}
		if err != nil {
			return fmt.Errorf("etcdserver: store the snapshot: %w", err)
		}
		m.snapshot.weigh(meta)
	}
	return m.stepSnapshot(ctx, from, message, prepared)
}

// load reads a snapshot that was received, and compares it with what was
// announced.
func (m *Member) load(r io.Reader, announced raft.SnapshotMeta) (*installation, error) {
	state, length, err := replica.Load(r, m.cluster, m.options.Store)
	if err != nil {
		return nil, datadir.Unusable(err)
	}
	if state.Index != announced.Index || state.Term != announced.Term || !state.Config.Equal(announced.Configuration) {
		return nil, datadir.Unusable(fmt.Errorf("announced for index %d of term %d, it holds index %d of term %d", announced.Index, announced.Term, state.Index, state.Term))
	}
	return &installation{state, length}, nil
}

// stepSnapshot gives the message to raft, together with the state it speaks of.
func (m *Member) stepSnapshot(ctx context.Context, from raft.MemberID, message raft.Snapshot, prepared *installation) error {
	stepped := make(chan error, 1)
	ok := m.raft.calls.put(func() { stepped <- m.raft.takeSnapshot(from, message, prepared) })
	if !ok {
		return ErrTooBusy
	}
	select {
	case err := <-stepped:
		return err
	case <-m.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeSnapshot steps the message, and keeps its state if raft is going to install
// it: then the log begins behind it. One that comes late is not to replace the
// state of another that raft has taken, and waits for the disk with.
func (l *raftLoop) takeSnapshot(from raft.MemberID, message raft.Snapshot, prepared *installation) error {
	before := l.machine.Status().Commit
	err := l.machine.Step(from, message)
	if at := message.Meta.Index; before < at && l.machine.Status().First == at+1 {
		assert(prepared != nil, "a snapshot that is taken was loaded: %d", at)
		l.prepared = prepared
	}
	return err
}

// install hands a received state to the apply loop. What that had not begun
// to apply is part of it.
func (l *raftLoop) install(meta raft.SnapshotMeta) {
	assert(l.prepared != nil && l.prepared.state.Index == meta.Index, "the state of the snapshot at %d is there", meta.Index)
	l.toApply = applyWork{install: l.prepared}
	l.prepared, l.installing = nil, meta.Index
}

// install replaces the state. Watchers that would miss events end, so that
// their clients come back with their index (K114).
func (a *applyLoop) install(i *installation) {
	a.state.Replace(i.state)
	a.compare.reset()
	a.time = a.state.Time()
	a.clock.applied(a.time)
	a.snapshot.installed(i)
	for _, p := range a.waiters.pending(func(id uint64) bool { return a.state.WasApplied(a.waiters.session, id) }) {
		a.finish(a.waiters.session, p.id(), outcome{err: ErrTimeoutConnection}) // applied, and what came of it is in no log
	}
	a.log.installed(i.state.Index)
	a.observer.installed(i.bytes)
}

// snapshotSender sends snapshots to members that need one, at most sendersMax at a time.
type snapshotSender struct {
	loop     *raftLoop
	apply    *applyLoop
	snapshot *snapshotter
	peers    Transport
	log      memberLog

	orders *inbox[order]

	mu      sync.Mutex // guards failing, for a few lines
	failing map[raft.MemberID]*lasting.Condition
}

const sendersMax = 2

// tell logs what became of a snapshot: that it is there, or, each minute, that none arrives.
func (c *snapshotSender) tell(o order, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failing, o.to)
		c.log.delivered(ID(o.to), o.message.Meta.Index)
		return
	}
	if c.failing == nil {
		c.failing = map[raft.MemberID]*lasting.Condition{}
	}
	condition := c.failing[o.to]
	if condition == nil {
		condition = &lasting.Condition{}
		c.failing[o.to] = condition
	}
	if moment, lasted := condition.Observe(true, time.Now()); moment != lasting.Quiet {
		c.log.undelivered(ID(o.to), lasted, err)
	}
}

type order struct {
	to      raft.MemberID
	message raft.Snapshot
}

func (c *snapshotSender) run(ctx context.Context) error {
	slots := make(chan struct{}, sendersMax)
	defer func() {
		for range sendersMax {
			slots <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return errLoopDone
		case <-c.orders.wake:
		}
		for _, o := range c.orders.take(nil) {
			select {
			case <-ctx.Done():
				return errLoopDone
			case slots <- struct{}{}:
			}
			go func() {
				defer func() { <-slots }()
				c.deliver(ctx, o)
			}()
		}
	}
}

// deliver sends one snapshot, and tells raft what became of it. A failure is
// not ours: raft orders another one.
func (c *snapshotSender) deliver(ctx context.Context, o order) {
	c.log.delivers(ID(o.to), o.message.Meta.Index)
	err := c.send(ctx, o)
	for !c.loop.calls.put(func() { c.loop.machine.SnapshotSent(o.to, err == nil) }) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.loop.interval):
		}
	}
	if ctx.Err() == nil {
		c.tell(o, err)
	}
}

// send picks the newest snapshot that reaches as far as raft needs, or has one
// written, and streams its file.
func (c *snapshotSender) send(ctx context.Context, o order) error {
	meta, err := c.pick(ctx, o.message.Meta.Index)
	if err != nil {
		return err
	}
	o.message.Meta = meta
	return c.snapshot.dir.Export(snap.Meta{Term: uint64(meta.Term), Index: uint64(meta.Index)}, func(r io.Reader, size int64) error {
		return c.peers.SendSnapshot(ctx, o.to, o.message, r, size)
	})
}

func (c *snapshotSender) pick(ctx context.Context, atLeast raft.Index) (raft.SnapshotMeta, error) {
	if newest := c.snapshot.newest.Load(); newest != nil && newest.Index >= atLeast {
		return *newest, nil
	}
	if err := c.demand(ctx); err != nil {
		return raft.SnapshotMeta{}, err
	}
	newest := c.snapshot.newest.Load()
	if newest == nil || newest.Index < atLeast {
		return raft.SnapshotMeta{}, fmt.Errorf("etcdserver: the snapshot that was written does not reach index %d", atLeast)
	}
	return *newest, nil
}

// demand has the present state saved, after the snapshot that is being
// written, if there is one. The apply loop does not wait for it.
func (c *snapshotSender) demand(ctx context.Context) error {
	wanted, saved := make(chan snapshotJob, 1), make(chan error, 1)
	select {
	case c.apply.demands <- wanted:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case job := <-wanted:
		job.saved = saved
		select {
		case c.snapshot.jobs <- job:
		case <-ctx.Done():
			return ctx.Err()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-saved:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
