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
)

// The range of GOGC in percent, and the garbage in bytes that a value above
// percentUsual may allow.
const (
	percentUsual = 100
	percentMax   = 400
	percentStep  = 50 // so that GOGC changes less often
	garbageMax   = 128 << 20
)

// pacer decides on GOGC by the processor time of collections. A member with a
// small state and much load collects several times a second with percentUsual,
// and each time some requests wait.
type pacer struct {
	before  time.Duration // processor time of collections at the last decision
	calm    time.Duration // time without load
	percent int
}

// paceGC adjusts GOGC until ctx ends.
func paceGC(ctx context.Context) {
	p := newPacer(collections())
	defer debug.SetGCPercent(percentUsual)
	tick := time.NewTicker(paceInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			was := p.percent
			if p.decide(collections()); p.percent != was {
				debug.SetGCPercent(p.percent)
			}
		case <-ctx.Done():
			return
		}
	}
}

// collections gives the processor time of all collections so far, and the bytes
// that were in use after the last one.
func collections() (spent time.Duration, live float64) {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return time.Duration(samples[0].Value.Float64() * float64(time.Second)), float64(samples[1].Value.Uint64())
}

func newPacer(spent time.Duration, _ float64) *pacer {
	return &pacer{before: spent, calm: paceCalm, percent: percentUsual}
}

// decide sets percent, once an interval.
func (p *pacer) decide(spent time.Duration, live float64) {
	if p.calm += paceInterval; spent-p.before >= paceLoad {
		p.calm = 0
	}
	p.before = spent
	if p.calm >= paceCalm {
		p.percent = percentUsual
		return
	}
	percent := 100 * garbageMax / max(live, 1)
	p.percent = int(min(max(percent, percentUsual), percentMax)) / percentStep * percentStep
}
