package process

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"

	"canopy/internal/redact"
)

const (
	tellEvery    = 5 * time.Second // between reports of a process that starts or stops
	startTimeout = 3 * time.Minute // that each of these reports asks for

	// othersPatience is how long a start may wait for nothing but other members. Then systemd is told that the unit is
	// ready, so that a script which starts units in turn continues, and starts the members that this one waits for.
	othersPatience = time.Minute
)

// Supervisor is systemd, if it started this process. It is told what the process does, and asked for more time while
// the process starts or stops (F33).
type Supervisor struct {
	notify func(state string) (told bool, err error)
	log    *logrus.Logger

	mu       sync.Mutex // guards what is below
	activity func() Activity
	phase    phase
	since    time.Time // when the process began to wait for others; zero: it does not wait
	told     string    // the last report
	failed   bool      // the last report failed
}

// Activity is what the process does at the moment.
type Activity struct {
	Status string
	Others bool // the process waits for nothing but other members
}

// phase is the state of the process that systemd knows.
type phase uint8

const (
	starting phase = iota
	serving
	stopping
)

func newSupervisor(logger *logrus.Logger) *Supervisor {
	s := &Supervisor{notify: func(state string) (bool, error) { return daemon.SdNotify(false, redact.Passwords(state)) }, log: logger}
	s.Does("starts")
	return s
}

// begin reports until end is called. When ctx ends the process stops.
func (s *Supervisor) begin(ctx context.Context) (end func()) {
	life, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { s.run(life, ctx) })
	return func() {
		cancel()
		loop.Wait()
	}
}

// run repeats reports until life ends.
func (s *Supervisor) run(life, ctx context.Context) {
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

// Does reports work that needs no other process.
func (s *Supervisor) Does(status string) {
	s.Reports(func() Activity { return Activity{Status: status} })
}

// Awaits reports that the process waits for other members.
func (s *Supervisor) Awaits(status string) {
	s.Reports(func() Activity { return Activity{Status: status, Others: true} })
}

// Reports calls now for each report from here on. It must return at once.
func (s *Supervisor) Reports(now func() Activity) {
	s.mu.Lock()
	s.activity = now
	s.mu.Unlock()
	s.tell()
}

// Serves reports that the process answers requests.
func (s *Supervisor) Serves() { s.enters(serving) }

// stops reports that the process ends.
func (s *Supervisor) stops() { s.enters(stopping) }

func (s *Supervisor) enters(p phase) {
	s.mu.Lock()
	if s.phase < p {
		s.phase, s.told = p, ""
	}
	s.mu.Unlock()
	s.tell()
}

// tell reports the activity: always while the process starts or stops, otherwise if it has changed.
func (s *Supervisor) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.activity()
	s.measure(now)
	state := "STATUS=" + strings.ReplaceAll(now.Status, "\n", " ")
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
	if err != nil && !s.failed {
		s.log.Warnf("failed to notify systemd: %v", err)
	}
	s.told, s.failed = state, err != nil
}

func extension() string { return fmt.Sprintf("\nEXTEND_TIMEOUT_USEC=%d", startTimeout.Microseconds()) }

// measure declares a process ready that has waited for others for othersPatience.
func (s *Supervisor) measure(now Activity) {
	switch {
	case !now.Others:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = time.Now()
	case s.phase == starting && time.Since(s.since) >= othersPatience:
		s.phase = serving
		s.log.Warnf("reported ready to systemd, but still waiting for other members: %s", now.Status)
	}
}
