package tuning

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// deferredMiB is how much garbage may exist during recovery. A member under
// load has as much, so a start needs no more memory than the time before it.
const deferredMiB = 64

// heapMinimumMiB times GOGC/100 is the heap at which the runtime collects for
// the first time (Go's guide to the collector).
const heapMinimumMiB = 4

// deferGC reduces collections until done is called. During recovery nearly all
// that is allocated stays, so that collections of a growing heap find nothing.
func deferGC() (done func()) {
	d := &deferral{usual: debug.SetGCPercent(100 * deferredMiB / heapMinimumMiB)}
	d.watch()
	return d.end
}

// deferral is a recovery with fewer collections.
type deferral struct {
	usual int // GOGC before and after

	mu    sync.Mutex // guards ended, and changes of GOGC
	ended bool
}

// watch calls collected at the next collection, which frees an object that
// nothing refers to. Tiny objects share memory, so it is not one of them.
func (d *deferral) watch() {
	runtime.AddCleanup(new([64]byte), (*deferral).collected, d)
}

// collected allows deferredMiB of garbage beside the heap that is in use.
func (d *deferral) collected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	live := max(readHeap().live, deferredMiB<<20/16)
	debug.SetGCPercent(max(d.usual, int(100*(deferredMiB<<20)/live)))
	d.watch()
}

func (d *deferral) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.ended = true
		debug.SetGCPercent(d.usual)
	}
}
