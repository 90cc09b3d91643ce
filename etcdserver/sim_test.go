package etcdserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"canopy/etcdserver/raftloop"
	"canopy/internal/disk"
	"canopy/internal/rng"
	"canopy/raft"
	"canopy/store"
	"canopy/store/watch"
)

// The simulation runs whole clusters of real members, with their logs,
// snapshots and stores, on disks and a network that are not, in a time that
// passes when nobody has anything to do. One seed decides everything: what
// clients ask, how long each message and each sync takes, and what goes wrong:
//
//   - links are cut, both ways or one way, slow, or lose messages;
//   - power is cut, of one member, some, or all: what was not synced may be gone;
//   - members stop in good order, hand over, are added and removed;
//   - disks are slow or full; wall clocks are up to an hour off.
//
// All the while clients read, write and watch. In the end nothing is wrong any
// more, and everything is compared: see sim_check_test.go.
var (
	simClusters = flag.Int("sim-clusters", 0, "simulate so many clusters of members; 0: for some seconds")
	simStory    = flag.Bool("sim-story", false, "print what happens in each simulated cluster")
)

const (
	simSeconds = 5                // of real time, if no number of clusters is given
	simFaults  = 40 * time.Second // of simulated time with faults
)

func TestSimulatedMembersKeepTheirPromises(t *testing.T) { simulateMany(t, simSeconds, simulate) }

// simulateMany simulates clusters, one for each seed, for so many seconds if no number of them is given.
func simulateMany(t *testing.T, seconds time.Duration, simulate func(t *testing.T, seed uint64) *sim) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines take turns in one order
	if rng.Given() != 0 {
		simulate(t, rng.Given())
		return
	}
	first := rand.Uint64() >> 20
	t.Logf("seeds from %d on; where a member panics, add the number of its bubble, less one", first)
	end := time.Now().Add(seconds * time.Second)
	var all tally
	for all.clusters < *simClusters || *simClusters == 0 && time.Now().Before(end) {
		all.add(simulate(t, first+uint64(all.clusters)).tally)
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", all)
}

// TestASimulationCanBeReplayed: what happens is told by the seed alone, unless the system's scheduler takes a processor
// away for long just then; and but for the race detector, which shuffles goroutines on purpose.
func TestASimulationCanBeReplayed(t *testing.T) {
	if raceEnabled {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	seed := rng.New(t).Uint64() >> 20
	parts := ""
	for range 20 { // on a busy machine a burst is interrupted more often than not
		if parts = parting(simulate(t, seed), simulate(t, seed)); parts == "" {
			return
		}
	}
	t.Errorf("seed %d: the stories part at\n%s", seed, parts)
}

// parting is where two stories part, or nothing. What happens at one instant is told in any order.
func parting(one, other *sim) string {
	slices.Sort(one.lines)
	slices.Sort(other.lines)
	for i, line := range one.lines {
		if i == len(other.lines) || other.lines[i] != line {
			return fmt.Sprintf("line %d:\n%s\n\n%s", i, strings.Join(one.lines[max(0, i-5):i+1], "\n"), strings.Join(other.lines[max(0, i-5):min(i+1, len(other.lines))], "\n"))
		}
	}
	return ""
}

// tally counts what happened, to show that a simulation is not idle.
type tally struct {
	clusters, faults, leaders, operations, events, crashes, changes, snapshots, installs, acknowledged, refused, busy, full, grants, guarded int
}

func (a *tally) add(b tally) {
	a.clusters++
	a.faults += b.faults
	a.leaders += b.leaders
	a.operations += b.operations
	a.events += b.events
	a.crashes += b.crashes
	a.changes += b.changes
	a.snapshots += b.snapshots
	a.installs += b.installs
	a.acknowledged += b.acknowledged
	a.refused += b.refused
	a.busy += b.busy
	a.full += b.full
	a.grants += b.grants
	a.guarded += b.guarded
}

// sim is one simulated cluster.
type sim struct {
	t          *testing.T
	seed       uint64
	rng        *rand.Rand
	net        *network
	conditions *networkConditions
	urls       map[string][]string
	disks      map[string]*slowDisk
	lives      uint64 // starts of members
	names      int    // members ever
	over       atomic.Bool
	began      time.Time
	tally      tally

	// mu guards what follows, for a few lines.
	mu       sync.Mutex
	members  map[string]*running
	down     []string // members that are to be started again
	lines    []string
	failed   bool
	done     []porcupine.Operation
	promised map[string]store.Index   // values whose write was acknowledged
	refused  map[string]error         // values and peer URLs that are surely not applied, by the error
	streams  map[int][]*watch.Event   // by watcher
	views    map[*running]*store.View // as a client saw them last
	users    simUsers
}

// simulate runs the cluster of one seed.
func simulate(t *testing.T, seed uint64) *sim {
	return simulateOf(t, seed, "TestSimulatedMembersKeepTheirPromises", (*sim).run)
}

// simulateOf runs a cluster of one seed, whose life is run.
func simulateOf(t *testing.T, seed uint64, name string, run func(*sim)) *sim {
	s := &sim{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), net: newNetwork(),
		urls: map[string][]string{}, disks: map[string]*slowDisk{}, members: map[string]*running{},
		promised: map[string]store.Index{}, refused: map[string]error{}, streams: map[int][]*watch.Event{}, views: map[*running]*store.View{}, users: simUsers{writes: map[string]uint64{}},
	}
	s.conditions = &networkConditions{seed: seed, spikes: uint64(s.rng.IntN(30))}
	s.conditions.clear()
	s.net.conditions = s.conditions.on
	synctest.Test(t, func(*testing.T) {
		s.began = time.Now()
		run(s)
	})
	s.checkHistory()
	if s.failed || *simStory {
		t.Logf("seed %d:\n%s", seed, strings.Join(s.lines, "\n"))
	}
	if s.failed {
		t.Errorf("replay with -run %s -seed=%d", name, seed)
	}
	return s
}

// run is the life of the cluster.
func (s *sim) run() {
	s.found([]int{1, 2, 3, 3, 3, 3, 5}[s.rng.IntN(7)])
	clients := s.startClients()
	for time.Since(s.began) < simFaults && !s.hasFailed() {
		s.misfortune()
		time.Sleep(between(50*time.Millisecond, 5*time.Second, s.rng.Uint64()))
		if s.rng.IntN(2) == 0 {
			s.mend()
		}
	}
	s.mend()
	s.over.Store(true)
	clients.Wait()
	s.checkEnd()
	s.stopAll()
}

// found starts a cluster.
func (s *sim) found(size int) {
	for n := range size {
		name := fmt.Sprintf("m%d", n+1)
		s.urls[name] = []string{"http://" + name + ":2380"}
	}
	s.names = size
	for _, name := range slices.Sorted(maps.Keys(s.urls)) {
		s.launch(name, Bootstrap{Cluster: s.urls, Token: "sim"})
	}
}

func (s *sim) startClients() *sync.WaitGroup {
	var all sync.WaitGroup
	for id, each := range []func(*client){
		(*client).registers, (*client).registers, (*client).registers, (*client).registers,
		(*client).queues, (*client).leases, (*client).leases, (*client).watches, (*client).watches, (*client).bursts, (*client).administers, (*client).tries, (*client).tries,
	} {
		all.Go(func() {
			each(&client{sim: s, id: id, rng: rand.New(rand.NewPCG(s.seed, uint64(id)+1))})
		})
	}
	return &all
}

// launch starts a member, on the disk it had if it ran before.
func (s *sim) launch(name string, b Bootstrap) {
	d := s.disks[name]
	if d == nil {
		d = newSlowDisk(disk.NewMem(), fate(s.seed, name))
		s.disks[name] = d
	}
	s.lives++
	o := testOptions(d)
	o.Name, o.ClientURLs = name, []string{"http://" + name + ":2379"}
	o.Heartbeat, o.Election = 97*time.Millisecond, 970*time.Millisecond // no multiple of what else ticks
	o.Bootstrap = func() (Bootstrap, error) { return b, nil }
	o.Transport, o.AutoPromote, o.Strict = s.net.transport, true, true
	o.Seed, o.CheckEvery = fate(s.seed, "life", s.lives), 500*time.Millisecond
	o.EarlyStart = o.Seed%2 == 0
	o.SnapshotEntries = 20 + fate(s.seed, "snapshots")%200
	o.Observer.SnapshotSaved = func(int64, time.Duration) { s.locked(func() { s.tally.snapshots++ }) }
	o.Observer.Installed = func(int64) { s.locked(func() { s.tally.installs++ }) }
	o.Store = store.Options{HistoryEvents: 1 << 20, HistoryBytes: 1 << 40}
	if s.hasSmallQueues() {
		o.WaitingBytes, o.queues = 16*150, raftloop.Limits{Proposals: 8, Held: 1} // a few requests at once fill them
	}
	offset := time.Duration(fate(s.seed, "clock", s.lives)%7200-3600) * time.Second
	o.Now = func() time.Time { return time.Now().Add(offset) }
	s.locked(func() { s.down = slices.DeleteFunc(s.down, func(n string) bool { return n == name }) })
	m, err := Open(o)
	var gone *RemovedError
	if errors.As(err, &gone) {
		s.tell("%s was removed", name)
		return
	}
	if err != nil {
		s.fail("open %s: %v", name, err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Member: m, t: s.t, stop: stop, done: make(chan error, 1)}
	s.tell("start %s, its clock off by %v", name, offset)
	s.locked(func() { s.members[name] = r })
	go func() { s.ended(r, m.Run(ctx)) }()
}

// hasSmallQueues tells whether a burst of writes is more than the members hold: in every second cluster.
func (s *sim) hasSmallQueues() bool { return fate(s.seed, "queues")%2 == 0 }

// ended judges the end of a member.
func (s *sim) ended(r *running, err error) {
	var gone *RemovedError
	switch {
	case err == nil:
	case errors.As(err, &gone):
		s.locked(func() {
			if s.members[r.Name()] == r {
				delete(s.members, r.Name())
			}
		})
		s.tell("%s has left", r.Name())
	case errors.Is(err, errPowerCut):
	default:
		s.fail("%s ended: %v", r.Name(), err)
	}
	r.done <- err
}

// present gives the members that run, by name.
func (s *sim) present() []*running {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*running
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		all = append(all, s.members[name])
	}
	return all
}

func (s *sim) locked(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// tell adds a line to the story.
func (s *sim) tell(format string, args ...any) {
	at := time.Since(s.began).Seconds()
	s.locked(func() { s.lines = append(s.lines, fmt.Sprintf("%10.6f  ", at)+fmt.Sprintf(format, args...)) })
}

func (s *sim) fail(format string, args ...any) {
	s.tell("WRONG: "+format, args...)
	s.locked(func() { s.failed = true })
	s.t.Errorf("seed %d: "+format, append([]any{s.seed}, args...)...)
}

func (s *sim) hasFailed() (failed bool) {
	s.locked(func() { failed = s.failed })
	return failed
}

func (s *sim) ids() []raft.MemberID {
	var all []raft.MemberID
	for _, m := range s.present() {
		all = append(all, m.ID().Raft())
	}
	return all
}
