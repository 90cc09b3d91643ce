package process

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// recorded makes a supervisor whose reports a test can read.
func recorded() (s *Supervisor, reports func() []string) {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	s = newSupervisor(logger)
	var all []string
	s.notify = func(state string) (bool, error) {
		all = append(all, state)
		return true, nil
	}
	return s, func() []string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(all)
	}
}

// While the process starts, systemd gets reports that each ask for more time than the interval between them.
func TestALongStartIsReportedAllTheTime(t *testing.T) { // F33
	synctest.Test(t, func(t *testing.T) {
		s, reports := recorded()
		ctx, stop := context.WithCancel(t.Context())
		defer s.begin(ctx)()
		s.Does("reads its log")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(reports()); n < int(time.Hour/tellEvery) || tellEvery >= startTimeout/2 {
			t.Errorf("%d reports in an hour, one each %v", n, tellEvery)
		}
		for _, r := range reports() {
			if r != "STATUS=reads its log\nEXTEND_TIMEOUT_USEC=180000000" {
				t.Fatalf("a report of a start: %q", r)
			}
		}
		before := len(reports())
		s.Serves()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := strings.Join(reports()[before:], "|"); got != "STATUS=reads its log\nREADY=1" {
			t.Errorf("reports of a process that serves: %q", got)
		}
		stop()
		synctest.Wait()
		if got := reports()[before+1]; got != "STOPPING=1\nSTATUS=stops\nEXTEND_TIMEOUT_USEC=180000000" {
			t.Errorf("report of a stop: %q", got)
		}
	})
}

// A unit that waits for other members becomes ready after a minute. Time in which it works by itself does not count.
func TestAStartThatNeedsOthersHoldsUpAScriptForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reports := recorded()
		defer s.begin(t.Context())()
		s.Does("applies its log")
		time.Sleep(time.Hour)
		s.Awaits("waits for a leader")
		for _, tt := range []struct {
			after time.Duration
			ready bool
		}{{othersPatience - time.Second, false}, {2*tellEvery + time.Second, true}} {
			time.Sleep(tt.after)
			synctest.Wait()
			if all := reports(); strings.Contains(all[len(all)-1], "STATUS=waits for a leader\nREADY=1") != tt.ready {
				t.Errorf("%v later the last report is %q", tt.after, all[len(all)-1])
			}
		}
	})
}
