package etcdserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"canopy/store"
	"canopy/store/watch"
)

// patience is how long a simulated client waits for an answer.
const patience = 1500 * time.Millisecond

// client does what one program at a time does. It has random numbers of its own, so that
// what it does depends on what it sees alone.
type client struct {
	*sim
	id  int
	rng *rand.Rand
	n   int // operations so far
}

// think passes the time between two operations.
func (c *client) think() {
	time.Sleep(time.Duration(1 + c.rng.Int64N(int64(200*time.Millisecond))))
}

// pick gives the member to talk to: mostly the same one, if it runs.
func (c *client) pick() *running {
	members := c.present()
	if len(members) == 0 {
		return nil
	}
	at := c.id
	if c.rng.IntN(4) == 0 {
		at = c.rng.IntN(len(members))
	}
	return members[at%len(members)]
}

// do carries a command through a member, and records what the answer says of its value, which is written by no other
// command. known is false if what became of it is not.
func (c *client) do(m *running, command store.Command, value string, limit time.Duration) (err error, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	applied, err := m.Do(ctx, command)
	known = err == nil || OutcomeOf(err) == NotApplied
	c.locked(func() {
		switch {
		case err == nil && value != "":
			c.promised[value] = applied.Event.Index()
		case known && value != "":
			c.refused[value] = err
		}
		c.tally.count(err)
	})
	return err, known
}

// count counts how a write ended.
func (a *tally) count(err error) {
	var refused *store.Error
	switch {
	case err == nil:
		a.acknowledged++
	case errors.As(err, &refused):
		a.refused++
	case errors.Is(err, ErrTooBusy):
		a.busy++
	case errors.Is(err, ErrNoSpace):
		a.full++
	}
}

// registers does reads, sets, deletes and their conditional kinds on a few keys.
func (c *client) registers() {
	last := map[string]string{}
	for ; !c.over.Load(); c.n++ {
		c.think()
		m := c.pick()
		if m == nil {
			continue
		}
		c.look(m)
		o := operation{key: fmt.Sprintf("/r%d", c.rng.IntN(5))}
		value := fmt.Sprintf("%d-%d", c.id, c.n)
		switch c.rng.IntN(8) {
		case 0, 1, 2:
			o.kind = "read"
		case 3, 4:
			o.kind, o.to = "set", value
		case 5, 6:
			o.kind, o.from, o.to = "swap", last[o.key], value
		case 7:
			o.kind, o.from = "remove", last[o.key]
		}
		if o.kind == "swap" && o.from == "" {
			o.kind = "read"
		}
		last[o.key] = c.operate(m, o)
	}
}

// look reads what a member has at the moment: that never goes back while it runs.
func (c *client) look(m *running) {
	view, err := m.Read(context.Background(), false)
	if err != nil {
		c.fail("a plain read on %s: %v", m.Name(), err)
		return
	}
	c.locked(func() {
		if before := c.views[m]; before != nil && (view.Index() < before.Index() || view.Time() < before.Time()) {
			c.t.Errorf("seed %d: %s went back from index %d to %d", c.seed, m.Name(), before.Index(), view.Index())
		}
		c.views[m] = view
	})
}

// operate does an operation and records it. It gives the value that the client
// believes to be there.
func (c *client) operate(m *running, o operation) string {
	called, in := time.Since(c.began), o
	o, done := c.perform(m, o)
	c.tell("client %d at %s: %+v, %v", c.id, m.Name(), o, done)
	if !done {
		return ""
	}
	returned := time.Since(c.began)
	if o.unknown {
		returned = time.Hour // it may happen at any later time
	}
	c.locked(func() {
		c.done = append(c.done, porcupine.Operation{ClientId: c.id, Input: in, Output: o, Call: int64(called), Return: int64(returned)})
	})
	switch {
	case o.unknown || o.missing:
		return ""
	case o.kind == "read" || o.different:
		return o.found
	}
	return o.to
}

// perform does an operation; false if it did nothing for sure.
func (c *client) perform(m *running, o operation) (operation, bool) {
	if o.kind == "read" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		view, err := m.Read(ctx, true)
		if err == nil {
			o.found = valueAt(c.t, view, o.key)
		}
		return o, err == nil
	}
	key := mustKey(c.t, o.key)
	var command store.Command
	switch {
	case o.kind == "set":
		command = store.Set{Key: key, Value: o.to}
	case o.kind == "swap":
		command = store.CompareAndSwap{Key: key, Value: o.to, PrevValue: o.from}
	case o.from == "":
		command = store.Delete{Key: key}
	default:
		command = store.CompareAndDelete{Key: key, PrevValue: o.from}
	}
	err, known := c.do(m, command, o.to, patience)
	var refused *store.Error
	switch {
	case err == nil:
	case !known:
		o.unknown = true
	case errors.As(err, &refused) && refused.Code == store.CodeKeyNotFound:
		o.missing = true
	case errors.As(err, &refused):
		o = judged(c.t, o, err)
	default:
		return o, false
	}
	return o, true
}

// queues creates in-order keys, each with a value of its own.
func (c *client) queues() {
	for ; !c.over.Load(); c.n++ {
		c.think()
		m := c.pick()
		if m == nil {
			continue
		}
		value := fmt.Sprintf("q%d-%d", c.id, c.n)
		err, _ := c.do(m, store.CreateInOrder{Dir: mustKey(c.t, "/queue"), Value: value}, value, patience)
		c.tell("client %d at %s: enqueue %s: %v", c.id, m.Name(), value, err)
	}
}

// bursts writes more at once than small queues hold, and waits for each answer as long as the member lets it: over
// changes of the leader, too.
func (c *client) bursts() {
	for ; !c.over.Load() && c.hasSmallQueues(); c.n++ {
		time.Sleep(time.Duration(1 + c.rng.Int64N(int64(2*time.Second))))
		m := c.pick()
		if m == nil {
			continue
		}
		var all sync.WaitGroup
		for i := range burst {
			value := fmt.Sprintf("b%d-%d-%d", c.id, c.n, i)
			command := store.CreateInOrder{Dir: mustKey(c.t, "/burst"), Value: value}
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond) // so that their order is told by the seed
				err, _ := c.do(m, command, value, hang)
				c.tell("client %d at %s: %s in a burst: %v", c.id, m.Name(), value, err)
			})
		}
		all.Wait()
	}
}

// burst is how many writes come at once.
const burst = 64

// leases sets keys that live for a while, and looks at each shortly before its
// end: it must be there, however many leaders there were (R51).
func (c *client) leases() {
	for ; !c.over.Load(); c.n++ {
		c.think()
		m := c.pick()
		if m == nil {
			continue
		}
		key := fmt.Sprintf("/lease/%d-%d", c.id, c.n)
		ttl := 1 + c.rng.IntN(4)
		began := time.Now()
		set := store.Set{Key: mustKey(c.t, key), Value: key, TTL: store.TTL{Set: true, Seconds: uint64(ttl)}}
		if err, _ := c.do(m, set, key, patience); err != nil {
			continue
		}
		end := began.Add(time.Duration(ttl) * time.Second)
		c.tell("client %d at %s: lease %s for %d s", c.id, m.Name(), key, ttl)
		time.Sleep(time.Until(end) - 50*time.Millisecond)
		c.lookAt(key, end)
	}
}

// lookAt reads a key that lives until end at least.
func (c *client) lookAt(key string, end time.Time) {
	m := c.pick()
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	view, err := m.Read(ctx, true)
	if err == nil && time.Now().Before(end) && valueAt(c.t, view, key) == "" {
		c.fail("%s was gone on %s %v before its end", key, m.Name(), time.Until(end))
	}
}

// watches follows all keys from the first event on, from member to member, as
// a client does that comes back with its index.
func (c *client) watches() {
	next := store.Index(1)
	for !c.over.Load() {
		m := c.pick()
		if m == nil {
			c.think()
			continue
		}
		w, err := m.Watch(mustKey(c.t, "/"), watch.Options{Recursive: true, Stream: true, Since: next})
		if err != nil {
			c.think()
			continue
		}
		c.tell("watcher %d at %s from %d", c.id, m.Name(), next)
		next = c.follow(w, next)
		w.Close()
	}
}

// follow takes events for a while, or until the watch ends.
func (c *client) follow(w *watch.Watcher, next store.Index) store.Index {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+c.rng.Int64N(int64(6*time.Second))))
	defer cancel()
	for {
		e, err := w.Next(ctx)
		if err != nil {
			return next
		}
		c.locked(func() { c.streams[c.id] = append(c.streams[c.id], e) })
		next = e.Index() + 1
		if c.rng.IntN(20) == 0 { // some readers are slow
			time.Sleep(time.Duration(1 + c.rng.Int64N(int64(300*time.Millisecond))))
		}
	}
}
