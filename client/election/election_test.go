package election

import (
	"context"
	"errors"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/lock"
	"canopy/client/membertest"
)

// One candidate after the other leads, and who observes sees each of them.
func TestElection(t *testing.T) {
	c, err := client.New(client.Config{Endpoints: membertest.Start(t, 1).ClientURLs()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Current(t.Context(), c, "/election"); !errors.Is(err, ErrNoLeader) {
		t.Errorf("without candidates: %v", err)
	}
	seen := make(chan Leader, 1)
	ctx, stop := context.WithCancel(t.Context())
	observed := make(chan error, 1)
	go func() {
		observed <- Observe(ctx, c, "/election", func(l Leader) bool { seen <- l; return true })
	}()
	var last uint64
	for _, value := range []string{"a", "b", "c"} {
		led, err := Campaign(t.Context(), c, "/election", value, lock.Options{})
		if err != nil {
			t.Fatal(err)
		}
		now, err := Current(t.Context(), c, "/election")
		if err != nil || now.Value != value || now.Token != led.Token() || now.Token <= last {
			t.Errorf("the leader is %+v, %v, want %s", now, err, value)
		}
		last = now.Token
		select {
		case l := <-seen:
			if l.Value != value || l.Token != now.Token {
				t.Errorf("the observer sees %+v, want %s", l, value)
			}
		case <-time.After(patience):
			t.Fatalf("the observer does not see %s", value)
		}
		if err := led.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-observed; !errors.Is(err, context.Canceled) {
		t.Errorf("Observe: %v", err)
	}
}

const patience = time.Minute
