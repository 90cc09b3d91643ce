package main

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

// recorded is a supervisor whose reports a test can read.
func recorded() (s *supervisor, reports func() []string) {
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

// A supervisor hears of a start again and again, for as long as it takes, and is asked for more time than passes.
func TestALongStartIsReportedAllTheTime(t *testing.T) { // F33
	synctest.Test(t, func(t *testing.T) {
		s, reports := recorded()
		ctx, stop := context.WithCancel(t.Context())
		defer s.begin(ctx)()
		s.does("reads its log")
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
		s.serves()
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

// A script that starts one unit after the other is not held up for ever by the first, which needs the others. Work of its own
// does not count.
func TestAStartThatNeedsOthersHoldsUpAScriptForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reports := recorded()
		defer s.begin(t.Context())()
		s.does("applies its log")
		time.Sleep(time.Hour)
		s.awaits("waits for a leader")
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
