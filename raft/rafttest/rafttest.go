// Package rafttest simulates whole clusters of raft machines, and checks what
// the algorithm promises after every step.
//
//	seed ──▶ generator ──▶ events ──▶ World ──▶ checks ──▶ nil, or a *Violation
//	                          ▲                                 │
//	                          └────────── minimise ◀────────────┘
//
// A World is a cluster in which nothing happens by itself. Each Event does one
// small thing: a tick, a message delivered, lost or doubled, a write finished, a
// crash that loses what was unfinished, a proposal, a change of members. A
// generator draws events from a seed as the world goes along, so that messages
// are delayed and reordered, links are cut both ways or one way, disks are slow,
// state machines lag, members come and go, logs are compacted, clients propose
// and read. Then all faults end, and the cluster must recover.
//
// What was drawn is kept as a Schedule: the same events make the same world.
// When a check fails, events are left out as long as it still does, and what is
// left is written down as a scenario, which stays as a test (testdata).
//
// Not modelled: disks that lose what they confirmed, members that lie (see
// package raft's FuzzStep), ids used twice.
package rafttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
)

// Violation is a promise that was broken, or a panic of a machine.
type Violation struct {
	Seed   uint64
	Text   string
	Events int    // that were carried out before
	Stack  []byte // of a panic; else nil
}

// Error tells what was broken.
func (v *Violation) Error() string {
	return fmt.Sprintf("rafttest: seed %d, event %d: %s", v.Seed, v.Events, v.Text)
}

// broken is the panic by which a check ends a simulation.
type broken struct{ text string }

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(broken{fmt.Sprintf(format, args...)})
	}
}

// Counts show that a simulation did something.
type Counts struct{ Clusters, Events, Elections, Entries, Changes, Reads, Installs, Crashes int }

// Add sums up.
func (c *Counts) Add(o Counts) {
	c.Clusters += o.Clusters
	c.Events += o.Events
	c.Elections += o.Elections
	c.Entries += o.Entries
	c.Changes += o.Changes
	c.Reads += o.Reads
	c.Installs += o.Installs
	c.Crashes += o.Crashes
}

// Schedule is a simulation: the cluster, its events, and whether it must recover afterwards.
type Schedule struct {
	Options  Options
	Events   []Event
	Recovers bool // all faults end behind the events, and the cluster has to make progress
}

// Simulate runs the cluster of a seed. The schedule is what was drawn, up to the
// violation, which is nil if there was none.
func Simulate(seed uint64) (Schedule, Counts, *Violation) {
	rng := rand.New(rand.NewPCG(seed, 7))
	w := NewWorld(drawOptions(seed, rng), nil)
	g := &generator{Rand: rng, world: w, speed: 90, recording: true}
	violation := g.guarded(func() {
		g.found()
		g.live()
		g.recording = false
		g.recover()
	})
	s := Schedule{Options: w.options, Events: g.events, Recovers: !g.recording}
	return s, w.counts(), violation
}

// Run carries out a schedule. story gets a line for each notable event; it may be nil.
func Run(s Schedule, story func(string)) *Violation {
	w := NewWorld(s.Options, story)
	g := &generator{world: w}
	return g.guarded(func() {
		for _, e := range s.Events {
			g.do(e)
		}
		if s.Recovers {
			g.recover()
		}
	})
}

// guarded turns a failed check, or a panic, into a violation.
func (g *generator) guarded(run func()) (v *Violation) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		v = &Violation{Seed: g.world.options.Seed, Events: g.world.seen.Events, Text: fmt.Sprint(r)}
		if b, ok := r.(broken); ok {
			v.Text = b.text
		} else {
			v.Stack = debug.Stack()
		}
	}()
	run()
	return nil
}

// ErrNoProgress begins the text of a violation that does not concern safety: all faults had ended, and the cluster did not
// recover.
var ErrNoProgress = errors.New("no progress after all faults have ended")
