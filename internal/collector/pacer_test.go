package collector

import (
	"context"
	"testing"
	"time"
)

func TestMoreRoomUnderLoadOnly(t *testing.T) {
	const mib = 1 << 20
	p := newPacer(time.Second, 0)
	spent := time.Second
	for i, c := range []struct {
		spent time.Duration
		live  float64
		times int
		want  int
	}{
		{0, 10 * mib, 1, 100},
		{busy - 1, 10 * mib, 3, 100},
		{busy, 10 * mib, 1, 400},
		{0, 10 * mib, 29, 400},
		{0, 10 * mib, 1, 100},
		{busy, 0, 1, 400},
		{busy, 32 * mib, 1, 400},
		{busy, 64 * mib, 1, 200},
		{busy, 70 * mib, 1, 150},
		{busy, 128 * mib, 1, 100},
		{busy, 4096 * mib, 1, 100},
	} {
		for range c.times {
			spent += c.spent
			p.look(spent, c.live)
		}
		if p.percent != c.want {
			t.Errorf("step %d, %v spent and %.0f MiB left: GOGC %d, want %d", i, c.spent, c.live/mib, p.percent, c.want)
		}
	}
}

// garbage is where the test below puts it, so that it is made at all.
var garbage []byte

func TestPacingSetsGOGC(t *testing.T) {
	t.Setenv("GOGC", "")
	usual := percent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	paced := make(chan error, 1)
	go func() { paced <- Pace(ctx) }()
	for began := time.Now(); percent() == usual; garbage = make([]byte, 1<<20) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("GOGC is still %d under load", usual)
		}
	}
	cancel()
	if err := <-paced; err != nil {
		t.Fatal(err)
	}
	if got := percent(); got != usual {
		t.Errorf("GOGC is %d afterwards, want %d", got, usual)
	}
}

func TestTheEnvironmentDecidesOnPacing(t *testing.T) {
	t.Setenv("GOGC", "300")
	if err := Pace(t.Context()); err != nil {
		t.Fatal(err)
	}
}
