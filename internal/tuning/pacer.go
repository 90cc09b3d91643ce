package tuning

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	paceInterval = time.Second
	paceLoad     = paceInterval / 100 // processor time of collections in an interval under load
	paceCalm     = 30 * paceInterval  // without load, until GOGC is percentUsual again
	paceIdle     = 256 << 10          // bytes allocated in an interval of an idle process, at most
)

// The range of GOGC in percent, and the garbage in bytes that a value above
// percentUsual may allow.
const (
	percentUsual = 100
	percentMax   = 400
	percentStep  = 50 // so that GOGC changes less often
	garbageMax   = 128 << 20
)

// An idle process returns memory when it has allocated this much since the last
// time: so many percent of what it uses, and so many bytes.
const (
	wastePercent = 25
	wasteBytes   = 1 << 20
)

// pacer decides on GOGC by the processor time of collections. A member with a
// small state and much load collects several times a second with percentUsual,
// and each time some requests wait. An idle one has time to collect, and returns
// the memory that it does not use to the system.
type pacer struct {
	before   heap          // at the last decision
	calm     time.Duration // time without load
	percent  int
	returned uint64 // bytes allocated so far, when memory was returned last
}

// heap is what the runtime tells about the heap.
type heap struct {
	spent     time.Duration // processor time of all collections so far
	allocated uint64        // bytes, so far
	live      uint64        // bytes in use after the last collection
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	return heap{
		spent:     time.Duration(samples[0].Value.Float64() * float64(time.Second)),
		allocated: samples[1].Value.Uint64(), live: samples[2].Value.Uint64(),
	}
}

// paceGC adjusts GOGC until ctx ends.
func paceGC(ctx context.Context) {
	p := newPacer(readHeap())
	defer debug.SetGCPercent(percentUsual)
	tick := time.NewTicker(paceInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			was := p.percent
			returns := p.decide(readHeap())
			if p.percent != was {
				debug.SetGCPercent(p.percent)
			}
			if returns {
				debug.FreeOSMemory() // it collects first: an idle process may not allocate what starts a collection
			}
		case <-ctx.Done():
			return
		}
	}
}

func newPacer(now heap) *pacer {
	return &pacer{before: now, calm: paceCalm, percent: percentUsual}
}

// decide sets percent, once an interval, and tells whether to return memory.
func (p *pacer) decide(now heap) (returns bool) {
	idle := now.allocated-p.before.allocated <= paceIdle
	if p.calm += paceInterval; now.spent-p.before.spent >= paceLoad && !idle {
		p.calm = 0
	}
	p.before = now
	if p.calm >= paceCalm {
		p.percent = percentUsual
	} else {
		percent := 100 * garbageMax / max(now.live, 1)
		p.percent = int(min(max(percent, percentUsual), percentMax)) / percentStep * percentStep
	}
	if !idle || now.allocated-p.returned <= now.live/100*wastePercent+wasteBytes {
		return false
	}
	p.returned = now.allocated
	return true
}
