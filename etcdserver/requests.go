package etcdserver

import (
	"context"
	"errors"
	"time"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/pending"
	"canopy/etcdserver/replica"
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

// Do is DoFor of a guest, as of the present users and roles.
func (r *requests) Do(ctx context.Context, c store.Command) (Applied, error) {
	return r.DoFor(ctx, Origin{Revision: r.status.Auth().Revision()}, c)
}

// Origin is who makes a request, and by which revision of users and roles it was
// allowed. If there is a newer one when it is applied, it is checked again (A63).
type Origin struct {
	auth.Requester
	Revision uint64
}

// DoFor runs a command through the log and returns its event. Errors are
// *store.Error, *auth.DeniedError, or one of this package; OutcomeOf tells which of them leave open
// whether the write is applied (K122). If ctx ends first, the write goes on (K125).
func (r *requests) DoFor(ctx context.Context, from Origin, c store.Command) (Applied, error) {
	if r.damage.found.Load() {
		return Applied{}, ErrInconsistent
	}
	command, err := store.EncodeCommand(nil, c)
	if err != nil {
		return Applied{}, err
	}
	if !r.status.writer.Space().Ample() {
		return r.doOnNarrowDisk(ctx, from, command, grows(c))
	}
	return r.proposeCommand(ctx, from, command, grows(c))
}

// doOnNarrowDisk waits until the disk has room for a command, and proposes it.
func (r *requests) doOnNarrowDisk(ctx context.Context, from Origin, command []byte, grows bool) (Applied, error) {
	waiting, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	space := r.status.writer.Space()
	if err := space.Enter(waiting, len(command), grows); err != nil {
		return Applied{}, err
	}
	defer space.Leave(len(command))
	return r.proposeCommand(ctx, from, command, grows)
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
func (r *requests) proposeCommand(ctx context.Context, from Origin, command []byte, grows bool) (Applied, error) {
	data, err := pending.EncodeCommand(command, pb.Origin{
		Session: r.pending.Session(), Finished: r.pending.Finished(),
		Requester: from.User, Token: tokenOf(from), AuthRevision: from.Revision,
	})
	if err != nil {
		return Applied{}, err
	}
	return r.await(ctx, pending.Proposal{Data: data, Grows: grows})
}

// tokenOf is how the token of a requester stands in the log.
func tokenOf(from Origin) []byte {
	if from.Token == (auth.TokenID{}) {
		return nil
	}
	return from.Token[:]
}

// ChangeAuth runs a change of users, roles or tokens through the log, and returns what it did. Errors are *auth.Error,
// *auth.DeniedError, or those of Do.
func (r *requests) ChangeAuth(ctx context.Context, from Origin, op auth.Operation) (auth.Result, error) {
	if r.damage.found.Load() {
		return auth.Result{}, ErrInconsistent
	}
	applied, err := r.propose(ctx, &pb.Request{
		Kind:      &pb.Request_Auth{Auth: replica.OperationToProto(op)},
		Requester: from.User, Token: tokenOf(from), AuthRevision: from.Revision,
	})
	if err != nil || applied.Auth == nil { // nil: it was applied before, and answered then
		return auth.Result{}, err
	}
	return *applied.Auth, nil
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

// Snapshot gives the whole state: the present one of this member or, if linearizable,
// one that holds every write that was acknowledged anywhere before the call.
func (r *requests) Snapshot(ctx context.Context, linearizable bool) (Snapshot, error) {
	if r.damage.found.Load() {
		return Snapshot{}, ErrInconsistent
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, ErrTimeout)
	defer cancel()
	if linearizable {
		if err := r.barrier(ctx); err != nil {
			return Snapshot{}, err
		}
	}
	state, err := r.status.apply.Snapshot(ctx)
	return state, contextError(ctx, err)
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
