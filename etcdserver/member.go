// Package etcdserver is a member of a cluster: it joins the raft machine, the
// log and the snapshots on disk, and the store into one replicated state.
//
//	Do ──▶ raft loop ──▶ log writer          (batches, one sync each)
//	          ▲   │          │ durable
//	          └───┼──────────┘
//	              ▼
//	          apply loop ──▶ store, pending requests, watchers
//	              │
//	              └──▶ snapshotter
//
// Each of these loops is a package of its own: raftloop, logwriter, applier and
// snapshotter. This package connects them (open.go), and has what clients and
// other members may ask for, one type and one file each:
//
//	requests.go  commands and reads        changes.go  changes of the membership
//	status.go    what the member knows     peers.go    what other members send
//
// All writes go through Do, one log, and one loop that applies. A read takes the
// store's present view and touches nothing else; a linearizable one first asks the
// raft loop for a read index.
//
// The rest are goroutines with small duties. Each has a type whose method run blocks
// until it fails or its context ends. Member.Run starts them and the loops, and waits
// for all of them.
package etcdserver

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"canopy/etcdserver/transfer"
	"canopy/raft"
)

// Member is one member of a cluster. Any goroutine may call its methods, and those of
// the types that are embedded, once Run has been called.
type Member struct {
	*status
	*requests
	*changes

	negotiator *negotiator
	sender     *transfer.Sender
	removal    *removal
	peerFront  *peerFront

	known      raft.Index                    // up to where the log was known to be committed when the member was opened
	goroutines []func(context.Context) error // of Run
	files      []io.Closer                   // closed when the member has stopped
	ready      chan struct{}                 // closed once the member is published, and the cluster version is known
	stopped    chan struct{}                 // closed when the goroutines have ended
}

// Run runs the member until ctx ends, which is the orderly stop (nil), or
// until something fails that it must not outlive.
func (m *Member) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	for _, run := range m.goroutines {
		group.Go(func() error { return run(running) })
	}
	err := group.Wait()
	m.pending.Close()
	close(m.stopped)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // the goroutines were told to end
	}
	return errors.Join(err, m.Close())
}

// Close releases the files of a member that is not running.
func (m *Member) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Ready is closed once the member has published itself to the cluster: it
// serves now.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Restored waits until all is applied that was known to be committed when the member was opened, which needs no other
// member (B13). A read before that would see an older state than what was answered before the restart, and a watch
// would report old events as new. The error is that of ctx, or ErrStopped.
func (m *Member) Restored(ctx context.Context) error { return m.apply.Wait(ctx, m.known) }

// Stopped is closed when the member has stopped.
func (m *Member) Stopped() <-chan struct{} { return m.stopped }

// Retire is for a member that is about to stop: from here on it takes no
// leadership, and it hands over as HandOver does.
func (m *Member) Retire(ctx context.Context) { m.raft.Retire(ctx) }

// HandOver hands leadership to another member, if this one leads and there is
// one, and returns when that is done or ctx ends.
func (m *Member) HandOver(ctx context.Context) { m.raft.HandOver(ctx) }
