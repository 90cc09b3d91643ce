// Package tuning adjusts Go's runtime and the timers of the system to what a
// member or a proxy does: GOMAXPROCS, GOGC and the timer slack.
//
// docs/tuning.md says what each of them does, how it is measured, and what it
// gains. GOMAXPROCS and GOGC in the environment are obeyed: then that setting
// is left alone.
package tuning

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

// Tuning adjusts the runtime for a member. If it is off, it changes nothing.
type Tuning struct {
	procs *gomaxprocs // nil: GOMAXPROCS is left alone
	gc    bool        // GOGC may be set
}

// New sets GOMAXPROCS, if on, for a member.
func New(on bool) *Tuning {
	t := &Tuning{gc: on && os.Getenv("GOGC") == ""}
	if on && os.Getenv("GOMAXPROCS") == "" {
		t.procs = newGomaxprocs()
	}
	return t
}

// Synced reports a sync of the log that took d and ended with the index last.
// One goroutine may call it.
func (t *Tuning) Synced(d time.Duration, last uint64) {
	if t.procs != nil {
		t.procs.synced(d, last)
	}
}

// LeaderChanged reports whether this member follows another one from now on.
func (t *Tuning) LeaderChanged(follows bool) {
	if t.procs != nil {
		t.procs.follows.Store(follows)
	}
}

// Run adjusts GOMAXPROCS until ctx ends.
func (t *Tuning) Run(ctx context.Context) {
	if t.procs != nil {
		t.procs.run(ctx)
	}
}

// DeferGC reduces garbage collections during recovery, until done is called.
func (t *Tuning) DeferGC() (done func()) {
	if !t.gc {
		return func() {}
	}
	return deferGC()
}

// PaceGC adjusts GOGC to the load until ctx ends.
func (t *Tuning) PaceGC(ctx context.Context) {
	if t.gc {
		paceGC(ctx)
	}
}

// proxyPercent is GOGC for a heap of a few MiB that holds requests under way.
// With 100, collections take a tenth of the processor time of a busy proxy.
const proxyPercent = 400

// Proxy sets GOGC, if on, for a proxy.
func Proxy(on bool) {
	if on && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(proxyPercent)
	}
}
