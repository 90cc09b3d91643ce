package tuning

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
		{paceLoad - 1, 10 * mib, 3, 100},
		{paceLoad, 10 * mib, 1, 400},
		{0, 10 * mib, 29, 400},
		{0, 10 * mib, 1, 100},
		{paceLoad, 0, 1, 400},
		{paceLoad, 32 * mib, 1, 400},
		{paceLoad, 64 * mib, 1, 200},
		{paceLoad, 70 * mib, 1, 150},
		{paceLoad, 128 * mib, 1, 100},
		{paceLoad, 4096 * mib, 1, 100},
	} {
		for range c.times {
			spent += c.spent
			p.decide(spent, c.live)
		}
		if p.percent != c.want {
			t.Errorf("step %d, %v spent and %.0f MiB left: GOGC %d, want %d", i, c.spent, c.live/mib, p.percent, c.want)
		}
	}
}

// garbage keeps the compiler from leaving out the allocations of the test below.
var garbage []byte

func TestPacingSetsGOGC(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMAXPROCS", "2")
	usual := percent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		New(true).PaceGC(ctx)
	}()
	for began := time.Now(); percent() == usual; garbage = make([]byte, 1<<20) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("GOGC is still %d under load", usual)
		}
	}
	cancel()
	<-paced
	if got := percent(); got != usual {
		t.Errorf("GOGC is %d afterwards, want %d", got, usual)
	}
}
