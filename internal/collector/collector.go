// Package collector has garbage collected when it costs clients least.
//
// While a member reads its snapshot and its log nearly all that it allocates
// stays, and a heap that doubles from a few MiB on is marked again and again
// for nothing: that is a quarter of the time of a start. So some garbage may come
// together then: as much as a member under load has, and so no more memory than
// before the start. The room for garbage of a bigger state is bounded by that.
//
// Afterwards the usual GOGC of 100 keeps memory small, which is worth most to a
// member that has little to do. One with a small state and much to do collects
// several times a second, and each time some requests wait: it has more room.
package collector

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// deferredMiB is how much garbage may come together during a start.
const deferredMiB = 64

// heapMinimumMiB is what the runtime lets a heap grow to, times GOGC/100,
// before it collects for the first time (Go's guide to the collector).
const heapMinimumMiB = 4

// Defer puts collections off until resume is called. If GOGC is set in the
// environment, it does nothing.
func Defer() (resume func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	d := &deferral{usual: debug.SetGCPercent(100 * deferredMiB / heapMinimumMiB)}
	d.watch()
	return d.resume
}

// deferral is a start during which garbage is collected less often.
type deferral struct {
	usual int

	// mu guards over, for the length of a change of GOGC.
	mu   sync.Mutex
	over bool
}

// watch has collected called with the next collection: what nothing refers to
// goes with it. It must not be tiny, since tiny ones share their memory.
func (d *deferral) watch() {
	runtime.AddCleanup(new([64]byte), (*deferral).collected, d)
}

// collected leaves room for garbage, by what is left of the heap.
func (d *deferral) collected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	_, live := collections()
	debug.SetGCPercent(int(max(float64(d.usual), 100*(deferredMiB<<20)/max(live, deferredMiB<<20/16))))
	d.watch()
}

func (d *deferral) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.over = true
		debug.SetGCPercent(d.usual)
	}
}
