package live

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"canopy/client"
)

// Mirror copies keys from a running cluster, and follows it (G60).
//
//	list, write all ──▶ watch ──▶ write each change      until ctx ends: then what was seen is written, and that is all
//	      ▲               │
//	      └── 401 ────────┘  the history was too short: what is gone meanwhile is deleted
//
// It survives restarts of either side, and can be run again: it begins with a list.
type Mirror struct {
	From   *client.Client
	To     Target
	Key    string
	Hidden []string // hidden keys, which no list shows unless they are named
	Once   bool     // only list and write
	Delete bool     // what is only in the target is deleted at the first list, too
	Every  time.Duration
	Log    func(format string, args ...any)

	written atomic.Uint64
	pending atomic.Int64
	seen    atomic.Uint64 // the last index
}

// Run copies until ctx ends, which is no error. Its errors are refusals, which would come again.
func (m *Mirror) Run(ctx context.Context) error {
	prune := m.Delete
	for {
		var index uint64
		err := m.retry(ctx, "list", func() (err error) {
			index, err = m.copyAll(ctx, prune)
			return err
		})
		if err != nil || m.Once {
			return m.ended(ctx, err)
		}
		m.Log("copied up to index %d; now following", index)
		err = m.follow(ctx, index)
		if !errors.Is(err, client.ErrIndexCleared) {
			return m.ended(ctx, err)
		}
		m.Log("the source no longer has the changes after index %d: listing again", m.seen.Load())
		prune = true
	}
}

func (m *Mirror) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) && m.pending.Load() == 0 {
		m.Log("ended: all changes up to index %d are written, %d in all", m.seen.Load(), m.written.Load())
		return nil
	}
	return err
}

// pause is how long to wait before a request is made again.
const pause = 500 * time.Millisecond

// retry calls do until it succeeds or is refused.
func (m *Mirror) retry(ctx context.Context, what string, do func() error) error {
	told := false
	for {
		err := do()
		var said *client.Error
		if err == nil || ctx.Err() != nil || errors.As(err, &said) && said.Status < 500 {
			return err
		}
		if !told {
			told = true
			m.Log("%s: %v; trying again", what, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// roots are the keys that are listed and watched.
func (m *Mirror) roots() []string { return append([]string{m.Key}, m.Hidden...) }

// copyAll writes all that is there.
func (m *Mirror) copyAll(ctx context.Context, prune bool) (index uint64, err error) {
	source := map[string]bool{}
	for _, root := range m.roots() {
		r, err := m.From.Get(ctx, root, client.GetOptions{Recursive: true, Quorum: true})
		var said *client.Error
		if errors.Is(err, client.ErrKeyNotFound) && errors.As(err, &said) {
			index = first(index, said.Index)
			continue
		}
		if err != nil {
			return 0, err
		}
		index = first(index, r.Index)
		if err := m.putAll(ctx, r.Node, source); err != nil {
			return 0, err
		}
	}
	if err := m.prune(ctx, source, prune); err != nil {
		return 0, err
	}
	m.seen.Store(index) // what is gone at the source is gone, too
	return index, nil
}

// first is the first index that is known.
func first(a, b uint64) uint64 {
	if a == 0 || b < a {
		return b
	}
	return a
}

// putAll writes a tree, directories before what is in them.
func (m *Mirror) putAll(ctx context.Context, top *client.Node, source map[string]bool) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	err := walk(top, func(n *client.Node) error {
		source[n.Key] = n.Dir
		if n.Dir {
			return m.put(ctx, n)
		}
		group.Go(func() error { return m.put(inner, n) })
		return inner.Err()
	})
	return errors.Join(group.Wait(), err)
}

func (m *Mirror) put(ctx context.Context, n *client.Node) error {
	ttl := time.Duration(0)
	if n.Expiration != nil {
		ttl = max(time.Duration(n.TTL)*time.Second, time.Second)
	}
	err := m.To.Put(ctx, n, ttl)
	if errors.Is(err, client.ErrNotFile) || errors.Is(err, client.ErrNotDir) {
		// A file is where a directory should be, or the other way.
		if err = m.clear(ctx, n.Key); err == nil {
			err = m.To.Put(ctx, n, ttl)
		}
	}
	if err == nil {
		m.written.Add(1)
	}
	return err
}

// clear deletes what is in the way of a key: itself, or a file above it.
func (m *Mirror) clear(ctx context.Context, key string) error {
	for at := 1; at <= len(key); at++ {
		if at < len(key) && key[at] != '/' {
			continue
		}
		there, err := m.To.Keys(ctx, key[:at])
		if err != nil {
			return err
		}
		if isDir, found := there[key[:at]]; found && (!isDir || at == len(key)) {
			return m.To.Delete(ctx, key[:at], isDir)
		}
	}
	return nil
}

// prune deletes what only the target has, or tells of it.
func (m *Mirror) prune(ctx context.Context, source map[string]bool, prune bool) error {
	var gone []string
	dirs := map[string]bool{}
	for _, root := range m.roots() {
		there, err := m.To.Keys(ctx, root)
		if err != nil {
			return err
		}
		for key, isDir := range there {
			if _, ok := source[key]; !ok && key != root {
				gone, dirs[key] = append(gone, key), isDir
			}
		}
	}
	if !prune {
		if len(gone) > 0 {
			m.Log("%d keys are in the target only; --delete removes them", len(gone))
		}
		return nil
	}
	slices.Sort(gone)
	for _, key := range gone {
		if err := m.To.Delete(ctx, key, dirs[key]); err != nil {
			return err
		}
	}
	return nil
}

// follow writes changes as they come. Changes of one key stay in order; those of a directory wait for all before them.
func (m *Mirror) follow(ctx context.Context, after uint64) error {
	group, watching := errgroup.WithContext(ctx)
	for _, root := range m.roots() {
		group.Go(func() error { return m.followOne(watching, root, after) })
	}
	watched := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		m.tell(watching, watched)
	}()
	err := group.Wait()
	close(watched)
	<-told
	return err
}

// workers is how many changes are written at once.
const workers = 32

// patience is how long changes that were seen may take to be written once the mirror is to end.
const patience = 10 * time.Second

var errNotWritten = errors.New("ended, and not all changes that were seen are written: run it again")

func (m *Mirror) followOne(ctx context.Context, root string, after uint64) error {
	// What was seen is written even when ctx ends.
	writing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	d := &dispatcher{mirror: m, ctx: writing, fail: cancel, seed: maphash.MakeSeed()}
	d.start()
	defer d.stop()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(writing, stop)
	w := m.From.Watch(root, client.WatchOptions{Recursive: true, After: after})
	for {
		e, err := w.Next(watching)
		if cause := context.Cause(writing); cause != nil {
			return cause
		}
		if err != nil {
			late := time.AfterFunc(patience, func() { cancel(errNotWritten) })
			d.wait()
			late.Stop()
			if cause := context.Cause(writing); cause != nil {
				return cause
			}
			return err
		}
		m.seen.Store(max(m.seen.Load(), w.After()))
		d.add(e)
	}
}

// dispatcher gives changes to workers, those of one key to one worker.
type dispatcher struct {
	mirror *Mirror
	ctx    context.Context
	fail   context.CancelCauseFunc
	seed   maphash.Seed
	queues [workers]chan *client.Response
	busy   sync.WaitGroup // changes
	done   sync.WaitGroup // workers
}

// queued is how many changes may wait for one worker.
const queued = 64

func (d *dispatcher) start() {
	for i := range d.queues {
		d.queues[i] = make(chan *client.Response, queued)
		d.done.Go(func() {
			for e := range d.queues[i] {
				d.apply(e)
				d.busy.Done()
				d.mirror.pending.Add(-1)
			}
		})
	}
}

func (d *dispatcher) stop() {
	for _, q := range d.queues {
		close(q)
	}
	d.done.Wait()
}

func (d *dispatcher) wait() { d.busy.Wait() }

func (d *dispatcher) add(e *client.Response) {
	d.busy.Add(1)
	d.mirror.pending.Add(1)
	if e.Node.Dir || e.PrevNode != nil && e.PrevNode.Dir {
		d.busy.Done()
		d.busy.Wait() // all before
		d.apply(e)
		d.mirror.pending.Add(-1)
		return
	}
	d.queues[maphash.String(d.seed, e.Node.Key)%workers] <- e
}

// apply writes a change, and tries until it is written or refused.
func (d *dispatcher) apply(e *client.Response) {
	if d.ctx.Err() != nil {
		return
	}
	m := d.mirror
	err := m.retry(d.ctx, "write "+e.Node.Key, func() error {
		switch e.Action {
		case "delete", "expire", "compareAndDelete":
			m.written.Add(1)
			return m.To.Delete(d.ctx, e.Node.Key, e.Node.Dir)
		}
		n := *e.Node
		if n.Expiration != nil && n.TTL == 0 {
			n.TTL = int64(time.Until(*n.Expiration) / time.Second)
		}
		return m.put(d.ctx, &n)
	})
	if err != nil && d.ctx.Err() == nil {
		d.fail(fmt.Errorf("write %s: %w", strings.ToValidUTF8(e.Node.Key, "\uFFFD"), err))
	}
}

// tell says how far behind the mirror is.
func (m *Mirror) tell(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(m.Every)
	defer tick.Stop()
	last := uint64(0)
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		for _, endpoint := range m.From.Endpoints() {
			present, err := m.From.IndexOf(ctx, endpoint)
			if err != nil {
				continue
			}
			if seen := m.seen.Load(); seen != last || present > seen {
				last = seen
				m.Log("index %d of %d; %d changes wait to be written, %d are", seen, max(present, seen), m.pending.Load(), m.written.Load())
			}
			break
		}
	}
}
