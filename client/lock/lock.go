// Package lock is a lock that clients of a cluster take in turn: a queue of in-order keys with a TTL in a directory. The first
// key holds the lock; each other one waits for the key before it, so a release wakes one waiter.
//
//	l, err := lock.Acquire(ctx, c, "/locks/backup", lock.Options{})
//	…
//	select { case <-l.Lost(): stop what needs the lock; … }
//	err = l.Release(ctx)
//
// # What it can and cannot do
//
// A lock with a time limit cannot stop a holder that is slow: a process that is paused for longer than the TTL, or cut off from
// the cluster, loses the lock and may not know it yet. Lost tells as soon as this process can know: it reckons by its own
// monotonic clock from the moment when the last refresh that succeeded was sent, and a tenth of the TTL less than the cluster.
// A clock that runs more than a tenth too slow, or a machine that sleeps, whose clock then stands still, tells too late. What
// must never be done by two holders needs a check where it is done: give Token along, and refuse any that is lower than one
// that was seen.
package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"canopy/client"
)

// Options are the settings of a lock. The zero value has the defaults below.
type Options struct {
	Value string        // of the key, for people who look who holds the lock
	TTL   time.Duration // after which a holder that is not heard of loses the lock; in whole seconds, default 10 s, at least 1 s
}

const (
	ttlDefault = 10 * time.Second
	ttlMin     = time.Second

	refreshes = 4  // within a TTL
	margin    = 10 // a part of the TTL by which this side gives up before the cluster does
)

// ErrLost is for a lock whose key is gone, or whose time is over.
var ErrLost = errors.New("the lock is lost")

// A Lock is held until it is released or lost. Any goroutine may call its methods.
type Lock struct {
	client *client.Client
	key    string
	token  uint64
	ttl    time.Duration

	stop    context.CancelFunc // of the goroutine that refreshes
	stopped sync.WaitGroup
	lost    chan struct{}
}

// Acquire waits for the lock of a directory, until ctx ends. Its goroutine refreshes the key until Release.
func Acquire(ctx context.Context, c *client.Client, dir string, o Options) (*Lock, error) {
	if o.TTL == 0 {
		o.TTL = ttlDefault
	}
	if o.TTL < ttlMin || o.TTL%time.Second != 0 {
		return nil, fmt.Errorf("lock: the TTL is %v, and must be whole seconds", o.TTL)
	}
	for {
		l, err := enter(ctx, c, dir, o)
		if err != nil {
			return nil, err
		}
		err = l.wait(ctx, dir)
		if err == nil {
			return l, nil
		}
		released := l.Release(context.WithoutCancel(ctx))
		if !errors.Is(err, ErrLost) {
			return nil, errors.Join(err, released)
		}
	}
}

// enter makes a key at the end of the queue. If it is not known whether one was made, another one is made: the other has the
// same TTL, and nobody refreshes it.
func enter(ctx context.Context, c *client.Client, dir string, o Options) (*Lock, error) {
	for {
		sent := time.Now()
		made, err := c.CreateInOrder(ctx, dir, o.Value, o.TTL)
		switch {
		case err == nil && made.Node != nil:
			l := &Lock{client: c, key: made.Node.Key, token: made.Node.CreatedIndex, ttl: o.TTL, lost: make(chan struct{})}
			keep, stop := context.WithCancel(context.WithoutCancel(ctx))
			l.stop = stop
			l.stopped.Go(func() { l.refresh(keep, sent) })
			return l, nil
		case err == nil:
			return nil, errors.New("lock: the answer has no key")
		case !isTemporary(ctx, err):
			return nil, fmt.Errorf("lock: %w", err)
		case !pause(ctx):
			return nil, ctx.Err()
		}
	}
}

// isTemporary tells whether to try again: the cluster is not there, or does not decide.
func isTemporary(ctx context.Context, err error) bool {
	var said *client.Error
	return ctx.Err() == nil && (errors.As(err, new(*client.ClusterError)) || errors.As(err, &said) && said.Status >= 500)
}

// retryAfter is the pause before something is tried again.
const retryAfter = 100 * time.Millisecond

func pause(ctx context.Context) bool {
	timer := time.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// wait waits until this key is the first one.
func (l *Lock) wait(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-l.lost:
			cancel(ErrLost)
		case <-ctx.Done():
		}
	}()
	for {
		before, index, err := l.before(ctx, dir)
		switch {
		case err == nil && before == "":
			return nil
		case err == nil:
			err = awaitEnd(ctx, l.client, before, index)
		}
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case errors.Is(err, client.ErrIndexCleared), err == nil:
		case !isTemporary(ctx, err):
			return err
		case !pause(ctx):
			return context.Cause(ctx)
		}
	}
}

// before finds the key before this one, "" if there is none, as of an index.
func (l *Lock) before(ctx context.Context, dir string) (key string, index uint64, err error) {
	found, err := l.client.Get(ctx, dir, client.GetOptions{Quorum: true})
	if errors.Is(err, client.ErrKeyNotFound) {
		return "", 0, ErrLost // with this key
	}
	if err != nil || found.Node == nil {
		return "", 0, err
	}
	queue := slices.DeleteFunc(found.Node.Nodes, func(n *client.Node) bool { return n.Dir })
	slices.SortFunc(queue, func(a, b *client.Node) int { return cmp.Compare(a.CreatedIndex, b.CreatedIndex) })
	at := slices.IndexFunc(queue, func(n *client.Node) bool { return n.Key == l.key && n.CreatedIndex == l.token })
	switch {
	case at < 0:
		return "", 0, ErrLost
	case at == 0:
		return "", found.Index, nil
	}
	return queue[at-1].Key, found.Index, nil
}

// awaitEnd waits until a key is deleted or expires, after an index.
func awaitEnd(ctx context.Context, c *client.Client, key string, index uint64) error {
	watcher := c.Watch(key, client.WatchOptions{After: index})
	for {
		event, err := watcher.Next(ctx)
		if err != nil {
			return err
		}
		switch event.Action {
		case "delete", "expire", "compareAndDelete":
			return nil
		}
	}
}

// refresh is the goroutine that keeps the key, from the moment when it was sent.
func (l *Lock) refresh(ctx context.Context, sent time.Time) {
	every := l.ttl / refreshes
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		end := sent.Add(l.ttl - l.ttl/margin)
		over := time.NewTimer(time.Until(end))
		select {
		case <-tick.C:
		case <-over.C:
			close(l.lost)
			return
		case <-ctx.Done():
			over.Stop()
			return
		}
		over.Stop()
		now := time.Now()
		if !now.Before(end) {
			continue // the process was paused
		}
		once, cancel := context.WithTimeout(ctx, min(every, time.Until(end))) // an endpoint that is silent costs one try
		_, err := l.client.Set(once, l.key, "", client.SetOptions{TTL: l.ttl, PrevExist: client.Must, Refresh: true, Brief: true})
		cancel()
		switch {
		case err == nil:
			sent = now
		case errors.Is(err, client.ErrKeyNotFound):
			close(l.lost)
			return
		}
	}
}

// Key is the key of this holder.
func (l *Lock) Key() string { return l.key }

// Token is greater than that of all holders before: the createdIndex of the key.
func (l *Lock) Token() uint64 { return l.token }

// Lost is closed when the lock is no longer held for sure, though it was not released.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Release ends the refreshing, and deletes the key. Without an answer of the cluster the key ends with its TTL.
func (l *Lock) Release(ctx context.Context) error {
	l.stop()
	l.stopped.Wait()
	bounded, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	for {
		_, err := l.client.Delete(bounded, l.key, client.DeleteOptions{})
		switch {
		case err == nil, errors.Is(err, client.ErrKeyNotFound):
			return nil
		case !isTemporary(bounded, err), !pause(bounded):
			return fmt.Errorf("lock: release %s: %w", l.key, err)
		}
	}
}
