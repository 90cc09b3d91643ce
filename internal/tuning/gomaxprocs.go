package tuning

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// extra is added to the number of processors: a sync of the log and a write of
// a snapshot each occupy one of the scheduler's processors while they wait for
// the disk.
const extra = 2

const (
	interval = 100 * time.Millisecond
	patience = 3   // intervals within the limits in a row, until GOMAXPROCS is 1
	recount  = 100 // intervals between looks at the processors and the CPU quota
)

// limits describe the load under which GOMAXPROCS is 1. With one processor a
// sync delays all other goroutines until the scheduler notices it, so syncs must
// be short, and the process must not need more than one processor.
type limits struct {
	entries uint64        // in one sync, on average
	sync    time.Duration // of one sync, on average
	work    time.Duration // processor time used in an interval
}

var (
	leaderLimits   = limits{entries: 4, sync: time.Millisecond, work: interval * 85 / 100}
	followerLimits = limits{entries: math.MaxUint32, sync: 2 * time.Millisecond, work: interval * 60 / 100}
)

// syncingMin is the part of an interval that is spent in syncs, at least.
const syncingMin = interval / 4

// gomaxprocs sets GOMAXPROCS by the load. It is 1 while lone writers wait for
// syncs, one after the other: then there is only ever one goroutine to run, and
// waking another thread at each step costs more than the step. It is also 1
// while a follower does little but follow. Otherwise it is extra more than the
// runtime's default, which follows the processors and the CPU quota.
type gomaxprocs struct {
	syncs   atomic.Int64
	syncing atomic.Int64 // nanoseconds spent in syncs
	last    atomic.Uint64
	follows atomic.Bool

	// Only run uses what follows.
	all    int // GOMAXPROCS under other load
	before sample
	lone   int // intervals within the limits in a row
}

// sample is what was counted since the start.
type sample struct {
	syncs   int64
	syncing time.Duration
	last    uint64 // index of the log
	work    time.Duration
}

func newGomaxprocs() *gomaxprocs {
	g := &gomaxprocs{all: runtime.GOMAXPROCS(0) + extra}
	runtime.GOMAXPROCS(g.all)
	return g
}

func (g *gomaxprocs) synced(d time.Duration, last uint64) {
	g.syncs.Add(1)
	g.syncing.Add(int64(d))
	g.last.Store(last)
}

// run adjusts GOMAXPROCS until ctx ends.
func (g *gomaxprocs) run(ctx context.Context) {
	defer func() { runtime.GOMAXPROCS(g.all) }()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-tick.C:
			work, err := processTime()
			if err != nil {
				return // the system does not report it
			}
			if i%recount == 0 {
				g.recount()
			}
			g.decide(g.count(work))
		case <-ctx.Done():
			return
		}
	}
}

// recount follows changes of the CPU quota and of the processors that this
// process may use. The runtime does not do so once GOMAXPROCS was set.
func (g *gomaxprocs) recount() {
	runtime.SetDefaultGOMAXPROCS()
	g.all = runtime.GOMAXPROCS(0) + extra
	runtime.GOMAXPROCS(g.number())
}

func (g *gomaxprocs) count(work time.Duration) sample {
	return sample{g.syncs.Load(), time.Duration(g.syncing.Load()), g.last.Load(), work}
}

// decide goes down to 1 after some intervals, and up at once. A change stops
// all goroutines for some microseconds, so it is made only if it is one.
func (g *gomaxprocs) decide(now sample) {
	was := g.number()
	limits := &leaderLimits
	if g.follows.Load() {
		limits = &followerLimits
	}
	if g.lone++; !now.since(g.before).within(limits) {
		g.lone = 0
	}
	g.before = now
	if n := g.number(); n != was {
		runtime.GOMAXPROCS(n)
	}
}

func (g *gomaxprocs) number() int {
	if g.lone >= patience {
		return 1
	}
	return g.all
}

func (s sample) since(before sample) sample {
	return sample{s.syncs - before.syncs, s.syncing - before.syncing, s.last - before.last, s.work - before.work}
}

// within reports whether an interval was one of lone writers, or of following.
func (s sample) within(l *limits) bool {
	return s.syncing >= syncingMin &&
		s.last <= l.entries*uint64(s.syncs) &&
		s.syncing <= l.sync*time.Duration(s.syncs) &&
		s.work <= l.work
}
