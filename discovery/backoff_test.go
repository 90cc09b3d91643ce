package discovery

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A wait is logged each minute, and when its reason changes, but not when only numbers in it change.
func TestAWaitIsLoggedEachMinute(t *testing.T) {
	log := &lines{}
	var waited time.Duration
	b := backoff{pause: func(_ context.Context, d time.Duration) error { waited += d; return nil }}
	wait := func(why string) {
		if err := b.wait(t.Context(), log, errors.New(why)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; waited < 150*time.Second; n++ {
		wait("port 4" + strings.Repeat("1", n%3) + " is closed")
	}
	if got := strings.Count(log.String(), "is closed"); got != 3 {
		t.Errorf("told %d times in 150 s, want 3:\n%s", got, log)
	}
	wait("another reason")
	b.reset(log)
	b.reset(log)
	if got := strings.Count(log.String(), "another reason"); got != 1 || strings.Count(log.String(), "continues") != 1 {
		t.Errorf("want another reason and an end:\n%s", log)
	}
}
