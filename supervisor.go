package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/etcdserver"
)

const (
	tellEvery    = 5 * time.Second // between reports of a process that does not serve yet, or stops
	startTimeout = 3 * time.Minute // that each of them asks for

	// othersPatience is how long a start may wait for nothing but other members. A script that starts one unit after
	// the other goes on then, and so starts the members that this one waits for.
	othersPatience = time.Minute
)

// supervisor is systemd, if it started this process. It is told what the process does, and asked for more time as long
// as the process starts or stops (F33).
type supervisor struct {
	notify func(state string) (told bool, err error)
	log    *logrus.Logger

	mu       sync.Mutex // guards what is below
	activity func() activity
	phase    phase
	since    time.Time // when it began to need others; zero: it does not
	told     string    // last
	deaf     bool      // the last report failed
}

// activity is what the process does at the moment.
type activity struct {
	status string
	others bool // all it needs are other members
}

// phase is how far the life of the process has come, in the eyes of the supervisor.
type phase uint8

const (
	starting phase = iota
	serving
	stopping
)

func newSupervisor(logger *logrus.Logger) *supervisor {
	s := &supervisor{notify: func(state string) (bool, error) { return daemon.SdNotify(false, config.Redacted(state)) }, log: logger}
	s.does("starts")
	return s
}

// begin reports until end is called; that ctx ends is the order to stop.
func (s *supervisor) begin(ctx context.Context) (end func()) {
	life, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { s.run(life, ctx) })
	return func() {
		cancel()
		loop.Wait()
	}
}

// run repeats what the process does until life ends.
func (s *supervisor) run(life, ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	stop := ctx.Done()
	for life.Err() == nil {
		select {
		case <-tick.C:
			s.tell()
		case <-stop:
			stop = nil
			s.stops()
		case <-life.Done():
		}
	}
	if stop != nil && ctx.Err() != nil {
		s.stops()
	}
}

// does begins work that needs nobody else.
func (s *supervisor) does(status string) {
	s.reports(func() activity { return activity{status: status} })
}

// awaits begins to wait for other members.
func (s *supervisor) awaits(status string) {
	s.reports(func() activity { return activity{status: status, others: true} })
}

// reports has the activity asked for from now on. The function must return at once.
func (s *supervisor) reports(now func() activity) {
	s.mu.Lock()
	s.activity = now
	s.mu.Unlock()
	s.tell()
}

// serves tells that requests are answered from now on.
func (s *supervisor) serves() { s.enters(serving) }

// stops tells that the process ends.
func (s *supervisor) stops() { s.enters(stopping) }

func (s *supervisor) enters(p phase) {
	s.mu.Lock()
	if s.phase < p {
		s.phase, s.told = p, ""
	}
	s.mu.Unlock()
	s.tell()
}

// tell reports the activity: each time while the process starts or stops, and else when it has changed.
func (s *supervisor) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.activity()
	s.measure(now)
	state := "STATUS=" + strings.ReplaceAll(now.status, "\n", " ")
	switch s.phase {
	case starting:
		state += extension()
	case serving:
		if state += "\nREADY=1"; state == s.told {
			return
		}
	case stopping:
		state = "STOPPING=1\nSTATUS=stops" + extension()
	}
	_, err := s.notify(state)
	if err != nil && !s.deaf {
		s.log.Warnf("failed to notify systemd: %v", err)
	}
	s.told, s.deaf = state, err != nil
}

func extension() string { return fmt.Sprintf("\nEXTEND_TIMEOUT_USEC=%d", startTimeout.Microseconds()) }

// measure ends the start of a process that has needed nothing but others for long.
func (s *supervisor) measure(now activity) {
	switch {
	case !now.others:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = time.Now()
	case s.phase == starting && time.Since(s.since) >= othersPatience:
		s.phase = serving
		s.log.Warnf("systemd is told that this process is ready, though it still waits for other members: %s", now.status)
	}
}

// activityOf tells what a member does that has restored its state.
func activityOf(m *etcdserver.Member) activity {
	leader := m.Leader()
	switch {
	case leader == 0:
		return activity{status: "waits for a leader: " + m.Reach(), others: true}
	case !closed(m.Ready()):
		return activity{status: "publishes itself to the cluster: " + m.LeaderTitle() + " leads", others: true}
	}
	return activity{status: "serves, " + m.LeaderTitle() + " leads"}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
