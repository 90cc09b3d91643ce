package tuning

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGOGCFollowsTheLoad(t *testing.T) {
	const mib = 1 << 20
	now := heap{spent: time.Second, allocated: 100 * mib}
	p := newPacer(now)
	for i, c := range []struct {
		spent     time.Duration
		allocated uint64
		live      uint64
		times     int
		want      int
	}{
		{0, mib, 10 * mib, 1, 100},
		{paceLoad - 1, mib, 10 * mib, 3, 100},
		{paceLoad, mib, 10 * mib, 1, 400},
		{0, mib, 10 * mib, 29, 400},
		{0, mib, 10 * mib, 1, 100},
		{paceLoad, mib, 0, 1, 400},
		{0, paceIdle, 10 * mib, 29, 400},
		{paceLoad, 0, 10 * mib, 1, 100}, // a collection of an idle process is no load
		{0, paceIdle + 1, 10 * mib, 1, 100},
		{paceLoad, mib, 32 * mib, 1, 400},
		{paceLoad, mib, 64 * mib, 1, 200},
		{paceLoad, mib, 70 * mib, 1, 150},
		{paceLoad, mib, 128 * mib, 1, 100},
		{paceLoad, mib, 4096 * mib, 1, 100},
	} {
		for range c.times {
			now.spent += c.spent
			now.allocated += c.allocated
			now.live = c.live
			p.decide(now)
		}
		if p.percent != c.want {
			t.Errorf("step %d, %v spent, %d KiB allocated, %d MiB in use: GOGC %d, want %d",
				i, c.spent, c.allocated>>10, c.live/mib, p.percent, c.want)
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

// Memory is returned once after a load, and then when enough was allocated again.
func TestAnIdleProcessReturnsMemoryNowAndThen(t *testing.T) {
	const mib = 1 << 20
	now := heap{}
	p := newPacer(now)
	for i, c := range []struct {
		allocated, live uint64
		want            bool
	}{
		{100 * mib, 40 * mib, false}, // load
		{0, 40 * mib, true},
		{0, 40 * mib, false},
		{paceIdle, 40 * mib, false},
		{paceIdle + 1, 40 * mib, false},
		{11 * mib, 40 * mib, false},
		{paceIdle, 40 * mib, true},
		{paceIdle, 0, false},
		{paceIdle, 0, false},
		{paceIdle, 0, false},
		{paceIdle, 0, false},
		{paceIdle, 0, true},
	} {
		now.allocated += c.allocated
		now.live = c.live
		if got := p.decide(now); got != c.want {
			t.Errorf("step %d: %v, want %v", i, got, c.want)
		}
	}
}

// A process whose load has ended keeps little garbage.
func TestAnIdleProcessKeepsLittleGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMAXPROCS", "2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer debug.SetGCPercent(debug.SetGCPercent(10_000)) // so that nothing else collects
	for range 64 {
		garbage = make([]byte, 1<<20)
	}
	garbage = nil
	inUse := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	if inUse() < 60<<20 {
		t.Fatal("there is no garbage")
	}
	paced := make(chan struct{})
	go func() {
		defer close(paced)
		New(true).PaceGC(ctx)
	}()
	look := time.NewTicker(paceInterval / 10)
	defer look.Stop()
	for began := time.Now(); inUse() > 30<<20; <-look.C {
		if time.Since(began) > time.Minute {
			t.Fatalf("%d MiB are in use", inUse()>>20)
		}
	}
	cancel()
	<-paced
}
