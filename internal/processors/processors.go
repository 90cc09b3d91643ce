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
// A GOMAXPROCS in the environment is left as it is (F37).
package processors

import (
	"context"
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
	patience = 3 // windows of lone writers in a row before it goes down to one
)

// What lone writers look like. The last two keep others from waiting: a sync
// holds the one processor until the scheduler takes it away, and at most so
// much of it is used that all of it is not wanted.
const (
	entriesMax = 4                   // in one sync, on average
	syncingMin = interval / 4        // time of a window spent in syncs
	syncMax    = time.Millisecond    // of one sync, on average
	workMax    = interval * 85 / 100 // processor time used in a window
)

// Governor decides by what the log and the process have done lately.
type Governor struct {
	all     int // of GOMAXPROCS; 0: the environment has set it
	syncs   atomic.Int64
	syncing atomic.Int64 // nanoseconds spent in them
	last    atomic.Uint64

	before sample
	lone   int // windows of lone writers in a row
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
	if g.lone++; !now.since(g.before).lone() {
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

// lone reports whether a window was one of lone writers.
func (s sample) lone() bool {
	return s.syncing >= syncingMin &&
		s.last <= entriesMax*uint64(s.syncs) &&
		s.syncing <= syncMax*time.Duration(s.syncs) &&
		s.work <= workMax
}
