package etcdserver

import (
	"context"
	"errors"
	"time"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/pending"
	"canopy/store"
	"canopy/store/watch"
)

// requests takes what clients ask for: commands go through the log, reads and watches use the
// store of this member. Any goroutine may call its methods.
type requests struct {
	status   *status
	pending  *pending.List
	damage   *damage
	observer *Observer
	log      memberlog.Log
	timeout  time.Duration // of a request
	election time.Duration
}

// Do runs a command through the log and returns its event. Errors are
// *store.Error, or one of this package; OutcomeOf tells which of them leave open
// whether the write is applied (K122). If ctx ends first, the write goes on (K125).
func (r *requests) Do(ctx context.Context, c store.Command) (Applied, error) {
	if r.damage.found.Load() {
		return Applied{}, ErrInconsistent
	}
	command, err := store.EncodeCommand(nil, c)
	if err != nil {
		return Applied{}, err
	}
	if !r.status.writer.Space().Ample() {
		return r.doOnNarrowDisk(ctx, command, grows(c))
	}
	return r.proposeCommand(ctx, command, grows(c))
}

// doOnNarrowDisk waits until the disk has room for a command, and proposes it.
func (r *requests) doOnNarrowDisk(ctx context.Context, command []byte, grows bool) (Applied, error) {
	waiting, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	space := r.status.writer.Space()
	if err := space.Enter(waiting, len(command), grows); err != nil {
		return Applied{}, err
	}
	defer space.Leave(len(command))
	return r.proposeCommand(ctx, command, grows)
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

// proposeCommand carries a command through the log, and returns its outcome.
func (r *requests) proposeCommand(ctx context.Context, command []byte, grows bool) (Applied, error) {
	data, err := pending.EncodeCommand(command, r.pending.Session(), r.pending.Finished())
	if err != nil {
		return Applied{}, err
	}
	return r.await(ctx, pending.Proposal{Data: data, Grows: grows})
}

// propose carries a request of the member itself through the log, and returns its outcome.
func (r *requests) propose(ctx context.Context, q *pb.Request) (Applied, error) {
	q.Session, q.Finished = r.pending.Session(), r.pending.Finished()
	data, err := pending.EncodeRequest(q)
	if err != nil {
		return Applied{}, err
	}
	return r.await(ctx, pending.Proposal{Data: data})
}

// slowRequest is when a request is worth a line at level debug.
const slowRequest = time.Second

// await hands p to the raft loop and waits for its outcome.
func (r *requests) await(ctx context.Context, p pending.Proposal) (Applied, error) {
	start := time.Now()
	w, err := r.pending.Register(p)
	if err != nil {
		return Applied{}, err
	}
	r.status.raft.Propose(p)
	applied, err := r.pending.Wait(ctx, w)
	took := time.Since(start)
	if r.observer.Proposed != nil {
		r.observer.Proposed(took, err)
	}
	if took > slowRequest {
		r.log.SlowRequest(p.ID(), took, err)
	}
	return applied, err
}

// Read gives a view of the tree: the present one of this member, or, if
// linearizable, one that holds every write that was acknowledged anywhere
// before the call (dissertation 6.4).
func (r *requests) Read(ctx context.Context, linearizable bool) (*store.View, error) {
	if r.damage.found.Load() {
		return nil, ErrInconsistent
	}
	if !linearizable {
		return r.status.store.View(), nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, ErrTimeout)
	defer cancel()
	if err := r.barrier(ctx); err != nil {
		return nil, err
	}
	return r.status.store.View(), nil
}

// barrier waits until all that is acknowledged now is applied here.
func (r *requests) barrier(ctx context.Context) error {
	index, err := r.status.raft.ReadIndex(ctx)
	if err != nil {
		return contextError(ctx, err)
	}
	return contextError(ctx, r.status.apply.Wait(ctx, index))
}

// contextError prefers the cause that this package gave to a context.
func contextError(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrTimeout) {
		return ErrTimeout
	}
	return err
}

// Watch registers a watcher on this member.
func (r *requests) Watch(k store.Key, o watch.Options) (*watch.Watcher, error) {
	return r.status.store.Watch(k, o)
}
