package applier

import (
	"context"
	"sync"
	"sync/atomic"

	"canopy/etcdserver/inbox"
	"canopy/etcdserver/outcome"
	"canopy/etcdserver/replica"
	"canopy/raft"
	"canopy/store"
)

// callsMax bounds the questions that wait for the loop.
const callsMax = 256

// Installation is a whole state that replaces the one there is.
type Installation struct {
	State *replica.State
	Bytes int64 // of the snapshot, before compression
}

// Work is what the loop does at once: first the installation, if there is one, then
// the entries.
type Work struct {
	Install *Installation
	Entries []raft.Entry
}

// Empty tells whether there is nothing to do.
func (w Work) Empty() bool { return w.Install == nil && len(w.Entries) == 0 }

// Front is what other goroutines use of a Loop. Any goroutine may call its methods.
type Front struct {
	batches         chan Work // unbuffered, so that the raft loop collects more while the loop applies
	snapshots       chan chan<- replica.Snapshot
	calls           *inbox.Inbox[func(*replica.State)] // run in the loop
	deadlineChanged chan struct{}                      // has room for one: the receiver looks for itself
	deadline        atomic.Int64                       // the store's earliest, 0: none
	present         atomic.Pointer[replica.Head]       // as of what is published
	authChanged     atomic.Pointer[chan struct{}]      // closed at the next change of users, roles or tokens
	waits           indexWaits
	stopped         <-chan struct{}
}

func newFront(state *replica.State, stopped <-chan struct{}) *Front {
	f := &Front{
		batches: make(chan Work), snapshots: make(chan chan<- replica.Snapshot), calls: inbox.New[func(*replica.State)](callsMax),
		deadlineChanged: make(chan struct{}, 1), stopped: stopped,
	}
	head := state.Head
	f.present.Store(&head)
	f.renewAuthChanged()
	f.waits.applied = head.Index
	return f
}

// Batches takes what is to be applied, in order. A receiver is there while the loop
// is idle.
func (f *Front) Batches() chan<- Work { return f.batches }

// Present is the head of the state that was published last. It must not be changed.
func (f *Front) Present() *replica.Head { return f.present.Load() }

// AuthChanged is closed when Present has other users, roles or tokens.
func (f *Front) AuthChanged() <-chan struct{} { return *f.authChanged.Load() }

func (f *Front) renewAuthChanged() {
	changed := make(chan struct{})
	f.authChanged.Store(&changed)
}

// Wait returns when an index is applied, with ErrStopped when the member stops, or with
// the context's error.
func (f *Front) Wait(ctx context.Context, index raft.Index) error {
	return f.waits.wait(ctx, index, f.stopped)
}

// Snapshot is the present state, ready to be saved.
func (f *Front) Snapshot(ctx context.Context) (replica.Snapshot, error) {
	wanted := make(chan replica.Snapshot, 1)
	select {
	case f.snapshots <- wanted:
	case <-ctx.Done():
		return replica.Snapshot{}, ctx.Err()
	}
	select {
	case state := <-wanted:
		return state, nil
	case <-ctx.Done():
		return replica.Snapshot{}, ctx.Err()
	}
}

// AskApplied asks whether a request was applied. The loop answers by calling answer;
// false means that too many questions wait for it.
func (f *Front) AskApplied(session, id uint64, answer func(applied bool)) bool {
	return f.calls.Put(func(s *replica.State) { answer(s.WasApplied(session, id)) })
}

// NextDeadline is the earliest deadline of a key; false: there is none.
func (f *Front) NextDeadline() (store.Time, bool) {
	t := f.deadline.Load()
	return store.Time(t), t != 0
}

// DeadlineChanged receives a value when NextDeadline has changed, or when a tick was
// applied that may not have removed all keys that are due.
func (f *Front) DeadlineChanged() <-chan struct{} { return f.deadlineChanged }

// indexWaits are readers that wait until an index is applied.
type indexWaits struct {
	// mu guards waiting and applied; held for a few lines.
	mu      sync.Mutex
	applied raft.Index
	waiting map[chan struct{}]raft.Index
}

func (w *indexWaits) reached(index raft.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = index
	for done, wanted := range w.waiting {
		if wanted <= index {
			close(done)
			delete(w.waiting, done)
		}
	}
}

// wait returns when index is applied, with ErrStopped when stopped is closed, or with the context's error.
func (w *indexWaits) wait(ctx context.Context, index raft.Index, stopped <-chan struct{}) error {
	w.mu.Lock()
	if w.applied >= index {
		w.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	if w.waiting == nil {
		w.waiting = map[chan struct{}]raft.Index{}
	}
	w.waiting[done] = index
	w.mu.Unlock()
	var err error
	select {
	case <-done:
		return nil
	case <-stopped:
		err = outcome.ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	w.mu.Lock()
	delete(w.waiting, done)
	w.mu.Unlock()
	return err
}
