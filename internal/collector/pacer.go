package collector

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the pacer looks at, and how often.
const (
	interval = time.Second
	busy     = interval / 100 // processor time that collections take of an interval under load
	calmFor  = 30 * interval  // without load, until GOGC is the usual again
)

// The range of GOGC, in percent, and the garbage that a higher one than the
// usual may let come together, in bytes.
const (
	percentUsual = 100
	percentMax   = 400
	percentStep  = 50 // so that it is set less often
	garbageMax   = 128 << 20
)

// A pacer decides on GOGC by what collections take.
type pacer struct {
	before  time.Duration // spent on collections when last looked
	calm    time.Duration // since there was load
	percent int
}

// Pace has garbage collected less often under load, until ctx ends. If GOGC is
// set in the environment, it does nothing.
func Pace(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	p := newPacer(collections())
	defer debug.SetGCPercent(percentUsual)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			was := p.percent
			if p.look(collections()); p.percent != was {
				debug.SetGCPercent(p.percent)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// collections gives the processor time spent on collections so far, and the
// bytes that the last one left.
func collections() (spent time.Duration, live float64) {
	samples := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return time.Duration(samples[0].Value.Float64() * float64(time.Second)), float64(samples[1].Value.Uint64())
}

func newPacer(spent time.Duration, _ float64) *pacer {
	return &pacer{before: spent, calm: calmFor, percent: percentUsual}
}

// look decides on percent once an interval.
func (p *pacer) look(spent time.Duration, live float64) {
	if p.calm += interval; spent-p.before >= busy {
		p.calm = 0
	}
	p.before = spent
	if p.calm >= calmFor {
		p.percent = percentUsual
		return
	}
	percent := 100 * garbageMax / max(live, 1)
	p.percent = int(min(max(percent, percentUsual), percentMax)) / percentStep * percentStep
}
