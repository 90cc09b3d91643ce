package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// requestMax bounds an encoded request, in bytes: a form body of 10 MiB (K14),
// its key, and what is around them.
const requestMax = 24 << 20

// Do runs a command through the log and returns its event. Errors are
// *store.Error, or one of this package; OutcomeOf tells which of them leave open
// whether the write is applied (K122). If ctx ends first, the write goes on (K125).
func (m *Member) Do(ctx context.Context, c store.Command) (Applied, error) {
	if m.damaged.Load() {
		return Applied{}, ErrInconsistent
	}
	command, err := store.EncodeCommand(nil, c)
	if err != nil {
		return Applied{}, err
	}
	if m.writer.space.level.Load() != spaceAmple {
		return m.squeeze(ctx, command, grows(c))
	}
	return m.propose(ctx, &pb.Request{Command: command}, grows(c))
}

// squeeze carries a command to a disk that may be full.
func (m *Member) squeeze(ctx context.Context, command []byte, grows bool) (Applied, error) {
	waiting, cancel := context.WithTimeout(ctx, m.options.requestTimeout())
	defer cancel()
	size := logBytes(len(command))
	if err := m.writer.space.enter(waiting, size, grows); err != nil {
		return Applied{}, err
	}
	defer m.writer.space.leave(size)
	return m.propose(ctx, &pb.Request{Command: command}, grows)
}

// grows tells whether a command may need room on the disk that is never given
// back by it.
func grows(c store.Command) bool {
	switch c.(type) {
	case store.Delete, store.CompareAndDelete:
		return false
	}
	return true
}

// propose carries a request through the log, and returns its outcome.
func (m *Member) propose(ctx context.Context, r *pb.Request, grows bool) (Applied, error) {
	r.Session, r.Finished = m.waiters.session, m.waiters.finished.Load()
	size := r.SizeVT()
	if size > requestMax {
		return Applied{}, ErrTooLarge
	}
	data := make([]byte, size, size+idRoom+timeRoom)
	if _, err := r.MarshalToSizedBufferVT(data); err != nil {
		return Applied{}, err
	}
	return m.await(ctx, proposal{data: reserveID(data, idTag), grows: grows})
}

// slowRequest is when a request is worth a line for who debugs.
const slowRequest = time.Second

// await hands p to the raft loop and waits for its outcome.
func (m *Member) await(ctx context.Context, p proposal) (Applied, error) {
	start := time.Now()
	w, err := m.waiters.register(p)
	if err != nil {
		return Applied{}, err
	}
	if !m.raft.proposals.put(p) { // the loop may have it from the list of waiters all the same
		m.raft.calls.put(m.raft.resendSoon)
	}
	applied, err := m.waiters.wait(ctx, w)
	took := time.Since(start)
	m.options.Observer.proposed(took, err)
	if took > slowRequest {
		m.log.slowRequest(p.id(), took, err)
	}
	return applied, err
}

// sweep fails requests that have waited too long.
func (m *Member) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			m.options.Observer.waiting(m.waiters.sweep(now.Add(-m.options.requestTimeout()), m.timeoutError))
		case <-ctx.Done():
			return errLoopDone
		}
	}
}

// timeoutError says why a request that began at start may have timed out (E25).
func (m *Member) timeoutError(start time.Time) error {
	l := m.leader.Load()
	switch {
	case l.leader == 0:
		return ErrTimeout
	case start.Before(l.since) && start.After(l.since.Add(-2*m.options.Election)):
		return ErrTimeoutLeaderFail
	}
	return ErrTimeoutConnection
}

// Read gives a view of the tree: the present one of this member, or, if
// linearizable, one that holds every write that was acknowledged anywhere
// before the call (dissertation 6.4).
func (m *Member) Read(ctx context.Context, linearizable bool) (*store.View, error) {
	if m.damaged.Load() {
		return nil, ErrInconsistent
	}
	if !linearizable {
		return m.store.View(), nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.options.requestTimeout(), ErrTimeout)
	defer cancel()
	if err := m.barrier(ctx); err != nil {
		return nil, err
	}
	return m.store.View(), nil
}

// barrier waits until all that is acknowledged now is applied here.
func (m *Member) barrier(ctx context.Context) error {
	r := readRequest{index: make(chan raft.Index, 1), gone: ctx.Done()}
	if !m.raft.reads.put(r) {
		return ErrTooBusy
	}
	select {
	case index := <-r.index:
		return contextError(ctx, m.apply.waits.wait(ctx, index, m.stopped))
	case <-m.stopped:
		return ErrStopped
	case <-ctx.Done():
		return contextError(ctx, ctx.Err())
	}
}

// contextError prefers the cause that this package gave to a context.
func contextError(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrTimeout) {
		return ErrTimeout
	}
	return err
}

// Health tells whether this member can serve linearizable reads: one round of
// heartbeats within an election time-out, no log entry (S17). Nor is one healthy
// that refuses writes, as the reference with a NOSPACE alarm is not. The error is
// an *UnhealthyError, or ErrInconsistent.
func (m *Member) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.options.Election, ErrTimeout)
	defer cancel()
	if _, undecided := m.apply.compare.differences(); undecided || m.damaged.Load() {
		return ErrInconsistent
	}
	if err := m.barrier(ctx); err != nil {
		return &UnhealthyError{Reason: m.whyNoQuorum(), Err: err}
	}
	if m.writer.space.full() {
		return &UnhealthyError{Reason: "the disk is full: writes are refused, reads and deletes go on", Err: ErrNoSpace}
	}
	return nil
}

func (m *Member) whyNoQuorum() string {
	if leader := m.Leader(); leader != 0 {
		return fmt.Sprintf("no quorum answers the leader, %s, or it does not answer: %v", m.title(leader), m.reach())
	}
	return fmt.Sprintf("there is no leader: %v", m.reach())
}

// Watch registers a watcher on this member.
func (m *Member) Watch(k store.Key, o store.WatchOptions) (*store.Watcher, error) {
	return m.store.Watch(k, o)
}
