// Package collector has garbage collected when it costs clients least.
//
// While a member reads its snapshot and its log nearly all that it allocates
// stays, and a heap that doubles from a few MiB on is marked again and again
// for nothing: that is a quarter of the time of a start. So it is collected
// only when the heap is big, or the start is over. A bigger state is loaded as
// ever: then the room for garbage is bounded by the state, and not by us.
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

// deferredMiB is the size of the heap at the first collection.
const deferredMiB = 256

// heapMinimumMiB is what the runtime lets a heap grow to, times GOGC/100,
// before it collects for the first time (Go's guide to the collector).
const heapMinimumMiB = 4

// Defer puts collections off, until resume is called or the heap is big. If
// GOGC is set in the environment, it does nothing.
func Defer() (resume func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	usual := debug.SetGCPercent(100 * deferredMiB / heapMinimumMiB)
	resume = sync.OnceFunc(func() { debug.SetGCPercent(usual) })
	// What nothing refers to goes with the first collection. It must not be tiny, since tiny ones share their memory.
	runtime.AddCleanup(new([64]byte), func(resume func()) { resume() }, resume)
	return resume
}
