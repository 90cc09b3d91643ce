// Package processors sets how many goroutines of a member run at once.
//
// Usually that is two more than there are processors: a sync of the log and a
// write of a snapshot each hold one of the scheduler's while they wait for the
// disk, and with two cores that would be all.
//
// While lone writers wait for their syncs, one after the other, it is one.
// There is never more to do than one step then, but whenever a goroutine hands
// on to the next the scheduler wakes another thread to look for work, on a
// processor that has gone to sleep or that the client's answer needs. In a
// virtual machine that costs up to half of what the sync takes: with one a
// write is answered in two thirds of the time (docs/architecture.md).
//
// It is one, too, while a follower does hardly anything but follow: what its
// leader sends goes from goroutine to goroutine in the same way, however many
// entries it is. Members that share a machine have more of it for their leader.
//
// A GOMAXPROCS in the environment is left as it is (F37).
package processors

import (
	"context"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// extra goroutines may run besides one for each processor.
const extra = 2

// What the governor looks at, and how often.
const (
	interval = 100 * time.Millisecond
	patience = 3 // windows within the limits in a row before it goes down to one
)

// limits are what lone writers, and following, look like. The last two keep
// others from waiting: a sync holds the one processor until the scheduler takes
// it away, and at most so much of it is used that all of it is not wanted.
type limits struct {
	entries uint64        // in one sync, on average
	sync    time.Duration // one of them, on average
	work    time.Duration // processor time used in a window
}

var (
	leads   = limits{entries: 4, sync: time.Millisecond, work: interval * 85 / 100}
	follows = limits{entries: math.MaxUint32, sync: 2 * time.Millisecond, work: interval * 60 / 100}
)

// syncingMin is the time of a window spent in syncs.
const syncingMin = interval / 4

// Governor decides by what the log and the process have done lately.
type Governor struct {
	all     int // of GOMAXPROCS; 0: the environment has set it
	syncs   atomic.Int64
	syncing atomic.Int64 // nanoseconds spent in them
	last    atomic.Uint64
	follows atomic.Bool

	before sample
	lone   int // windows within the limits in a row
}

// sample is what has been counted since the start.
type sample struct {
	syncs   int64
	syncing time.Duration
	last    uint64 // index of the log
	work    time.Duration
}

// New makes a governor and sets GOMAXPROCS to the usual number.
func New() *Governor {
	g := &Governor{}
	if os.Getenv("GOMAXPROCS") == "" {
		g.all = runtime.GOMAXPROCS(0) + extra
		runtime.GOMAXPROCS(g.all)
	}
	return g
}

// Synced counts a sync of the log, after which its last index is last. It may
// be called by one goroutine.
func (g *Governor) Synced(d time.Duration, last uint64) {
	g.syncs.Add(1)
	g.syncing.Add(int64(d))
	g.last.Store(last)
}

// LeaderChanged tells whether this member follows another from now on.
func (g *Governor) LeaderChanged(follows bool) { g.follows.Store(follows) }

// Run governs until ctx ends, and then sets the usual number.
func (g *Governor) Run(ctx context.Context) error {
	if g.all == 0 {
		return nil
	}
	defer runtime.GOMAXPROCS(g.all)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			work, err := processTime()
			if err != nil {
				return nil // the usual number is right without it
			}
			g.look(g.count(work))
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *Governor) count(work time.Duration) sample {
	return sample{g.syncs.Load(), time.Duration(g.syncing.Load()), g.last.Load(), work}
}

// look goes down slowly and up at once. Changing the number stops the program
// for some microseconds, so that it is only done if it is another one.
func (g *Governor) look(now sample) {
	was := g.number()
	limits := &leads
	if g.follows.Load() {
		limits = &follows
	}
	if g.lone++; !now.since(g.before).within(limits) {
		g.lone = 0
	}
	g.before = now
	if n := g.number(); n != was {
		runtime.GOMAXPROCS(n)
	}
}

func (g *Governor) number() int {
	if g.lone >= patience {
		return 1
	}
	return g.all
}

func (s sample) since(before sample) sample {
	return sample{s.syncs - before.syncs, s.syncing - before.syncing, s.last - before.last, s.work - before.work}
}

// within reports whether a window was one of lone writers, or of following.
func (s sample) within(l *limits) bool {
	return s.syncing >= syncingMin &&
		s.last <= l.entries*uint64(s.syncs) &&
		s.syncing <= l.sync*time.Duration(s.syncs) &&
		s.work <= l.work
}
