package rafttest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

var (
	seed     = flag.Uint64("seed", 0, "simulate the cluster of this seed only")
	clusters = flag.Int("clusters", 1000, "how many clusters are simulated")
	story    = flag.Bool("story", false, "with -seed: print what happens")
	keep     = flag.String("keep", "", "directory to which the scenario of a violation is written; default a temporary one")
)

// TestSimulatedClusters is the simulation. It stops at the first violation.
func TestSimulatedClusters(t *testing.T) {
	if *seed != 0 {
		s, _, v := Simulate(*seed)
		if *story {
			t.Log("\n" + tell(s))
		}
		report(t, s, v)
		return
	}
	first := rand.Uint64() >> 20
	t.Logf("seeds from %d on", first)
	var mu sync.Mutex
	var all Counts
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := next.Add(1); n <= uint64(*clusters) && !t.Failed(); n = next.Add(1) {
				s, counts, v := Simulate(first + n - 1)
				mu.Lock()
				all.Add(counts)
				report(t, s, v)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%+v", all)
}

// report minimises what broke a promise, and writes it down.
func report(t *testing.T, s Schedule, v *Violation) {
	t.Helper()
	if v == nil {
		return
	}
	dir := *keep
	if dir == "" {
		dir = os.TempDir()
	}
	t.Errorf("%v\n%s", v, v.Stack)
	s = Minimize(s, v, 30*time.Second)
	file := filepath.Join(dir, fmt.Sprintf("seed-%d.txt", v.Seed))
	if err := os.WriteFile(file, []byte(Scenario(s, v)), 0o600); err != nil {
		t.Error(err)
	}
	t.Logf("replay with -run SimulatedClusters -seed %d -story; %d events that suffice are in %s", v.Seed, len(s.Events), file)
}

// TestScenarios runs what once broke a promise. Run with -rewrite when it does no longer, and look at what changes.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s, err := parse(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			told := tell(s)
			if strings.Contains(told, "VIOLATION") {
				t.Errorf("%s: %s", path, told)
			}
			return told
		})
	})
}

func parse(d *datadriven.TestData) (Schedule, error) {
	var s Schedule
	for _, arg := range d.CmdArgs {
		if arg.Key == "recovers" {
			s.Recovers = true
			continue
		}
		if err := s.Options.set(arg.Key, strings.Join(arg.Vals, "")); err != nil {
			return s, err
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		e, err := ParseEvent(line)
		if err != nil {
			return s, err
		}
		s.Events = append(s.Events, e)
	}
	return s, nil
}

// TestTheSameScheduleIsTheSameWorld replays what was drawn, and what was written down.
func TestTheSameScheduleIsTheSameWorld(t *testing.T) {
	first := rand.Uint64() >> 20
	for n := range uint64(20) {
		s, counts, v := Simulate(first + n)
		if v != nil {
			t.Fatal(v)
		}
		if counts.Elections < 2 {
			t.Logf("seed %d: only %d elections", first+n, counts.Elections)
		}
		if one, other := tell(s), tell(s); one != other || !strings.Contains(one, "every promise was kept") {
			t.Errorf("seed %d is not the same again: %s", first+n, other)
		}
		for _, e := range s.Events {
			if again, err := ParseEvent(e.String()); err != nil || again != e {
				t.Fatalf("%q is read as %v, %v", e, again, err)
			}
		}
	}
}

// TestMinimizeLeavesWhatIsNeeded breaks promises by disks that forget what they have confirmed, in the middle of simulations.
func TestMinimizeLeavesWhatIsNeeded(t *testing.T) {
	found := 0
	for n := uint64(1); found < 3; n++ {
		s, _, v := Simulate(n)
		if v != nil {
			t.Fatal(v)
		}
		s.Recovers = false
		half := len(s.Events) / 2
		rest := s.Events[half:]
		s.Events = s.Events[:half:half]
		for id := uint64(1); id <= 4; id++ {
			s.Events = append(s.Events, event(Crash, id, 0, 0), event(Forget, id), event(Start, id))
		}
		s.Events = append(s.Events, rest...)
		if v = Run(s, nil); v == nil {
			continue
		}
		found++
		few := Minimize(s, v, 20*time.Second)
		again := Run(few, nil)
		if again == nil || kind(again) != kind(v) {
			t.Fatalf("seed %d: minimised, the schedule breaks %v, and did %v", n, again, v)
		}
		if len(few.Events) > len(s.Events)/5 {
			t.Errorf("seed %d: %d of %d events are left", n, len(few.Events), len(s.Events))
		}
		t.Logf("seed %d: %d of %d events suffice for: %s", n, len(few.Events), len(s.Events), kind(v))
	}
}
