package etcdserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"canopy/store"
)

// A request waits at its member for as long as it takes, and is proposed again whenever that may help. So when nothing
// has been wrong for a while it has its answer, whatever happened before: leaders that died or handed over, messages that
// were lost on the way there or back, members that were cut off for a moment.
const (
	troubleMost = time.Second
	calmLeast   = 4 * time.Second
	answerMost  = 2 * time.Second // of calm
)

func TestNoRequestIsForgotten(t *testing.T) { simulateMany(t, simSeconds/2, simulateTroubles) }

func simulateTroubles(t *testing.T, seed uint64) *sim {
	return simulateOf(t, seed, "TestNoRequestIsForgotten", (*sim).runTroubles)
}

// stallChecker is what is known of requests that wait, and of the time since when they should not have to.
type stallChecker struct {
	*sim

	mu      sync.Mutex // guards the rest
	waiting map[int]pendingRequest
	trouble bool
	calm    time.Time // when it began
}

// pendingRequest is a request that waits at a member.
type pendingRequest struct {
	at    *running
	began time.Time
	what  string
}

// runTroubles is the life of a cluster with short troubles, one at a time.
func (s *sim) runTroubles() {
	w := &stallChecker{sim: s, waiting: map[int]pendingRequest{}, calm: time.Now()}
	s.conditions.spikes = 0
	s.found(3 + 2*s.rng.IntN(2))
	var clients sync.WaitGroup
	for id := range 8 {
		clients.Go(func() { w.asks(&client{sim: s, id: id, rng: rand.New(rand.NewPCG(s.seed, uint64(id)+1))}) })
	}
	clients.Go(w.watch)
	for time.Since(s.began) < simFaults && !s.hasFailed() {
		w.changeTo(true)
		s.shortTrouble()
		time.Sleep(between(10*time.Millisecond, troubleMost, s.rng.Uint64()))
		s.mend()
		w.changeTo(false)
		time.Sleep(between(calmLeast, 2*calmLeast, s.rng.Uint64()))
	}
	s.over.Store(true)
	clients.Wait()
	s.checkEnd()
	s.stopAll()
}

// shortTrouble is what a cluster gets over in no time.
func (s *sim) shortTrouble() {
	s.tally.faults++
	members := s.present()
	unlucky := members[s.rng.IntN(len(members))]
	switch s.rng.IntN(8) {
	case 0:
		s.crash(unlucky)
	case 1:
		s.halt(unlucky)
	case 2:
		s.isolate(unlucky)
	case 3:
		s.cutLinks()
	case 4:
		s.split(members)
	case 5:
		s.slowLinks()
	case 6:
		s.loseMessages()
	case 7:
		s.handOver(unlucky)
	}
}

// asks has one request after the other wait at a member until it is answered.
func (w *stallChecker) asks(c *client) {
	for ; !c.over.Load(); c.n++ {
		c.think()
		e := pendingRequest{at: c.pick(), began: time.Now(), what: fmt.Sprintf("request %d of client %d", c.n, c.id)}
		w.locked(func() { w.waiting[c.id] = e })
		c.ask(e)
		w.locked(func() { delete(w.waiting, c.id) })
	}
}

// ask reads or writes, with no limit of its own.
func (c *client) ask(e pendingRequest) {
	var err error
	if c.rng.IntN(3) == 0 {
		_, err = e.at.Read(context.Background(), true)
	} else {
		var applied Applied
		if applied, err = e.at.Do(context.Background(), store.Set{Key: mustKey(c.t, "/k"), Value: e.what}); err == nil {
			c.locked(func() { c.promised[e.what] = applied.Event.Index() })
		}
	}
	c.tell("%s at %s: %v after %v", e.what, e.at.Name(), err, time.Since(e.began))
	c.locked(func() { c.tally.operations++ })
}

// watch complains of requests that wait though nothing is wrong.
func (w *stallChecker) watch() {
	for ; !w.over.Load() && !w.hasFailed(); time.Sleep(50 * time.Millisecond) {
		agreed := w.agreed()
		w.locked(func() {
			if w.trouble || !agreed {
				w.calm = time.Now()
			}
			for _, e := range w.waiting {
				if time.Since(w.calm) > answerMost && time.Since(e.began) > answerMost {
					w.fail("%s at %s has waited for %v, through %v of calm", e.what, e.at.Name(), time.Since(e.began), time.Since(w.calm))
				}
			}
		})
	}
}

// agreed tells whether all members know the same leader.
func (s *sim) agreed() bool {
	members := s.present()
	for _, m := range members {
		if m.Leader() == 0 || m.Leader() != members[0].Leader() {
			return false
		}
	}
	return true
}

func (w *stallChecker) changeTo(trouble bool) { w.locked(func() { w.trouble = trouble }) }

func (w *stallChecker) locked(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}
