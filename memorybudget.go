package main

import (
	"math"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/internal/memory"
)

// newMemoryBudget makes the budget for what clients can make this process hold,
// and keeps the heap below the limit on the process, if there is one.
func newMemoryBudget(c config.Config, registry *prometheus.Registry, logger *logrus.Logger) (*memory.Budget, memory.Limit) {
	limit := memory.FindLimit(os.DirFS("/"))
	collectBelow(limit, logger)
	size, from := c.HTTP.MemoryBudget, "--memory-budget"
	if size == 0 {
		size, from = limit.Budget(), limit.From
	}
	logger.Infof("clients can make this process hold %d MiB of memory (from %s)", size>>20, from)
	refusals := newRefusals(size, registry, logger)
	budget := memory.New(size, refusals.note)
	gauge := func(name, help string, value func() int64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("canopy_memory_budget_bytes", "Memory that clients can make this process hold.", budget.Max)
	gauge("canopy_memory_budget_used_bytes", "Memory that clients make this process hold now.", budget.Used)
	return budget, limit
}

// heapPart is the part of a limit that the heap may grow to before garbage is
// collected whatever that costs. The rest is for stacks of threads, the program,
// and what the system counts beside.
const heapPart = 0.85

// collectBelow has garbage collected in time, unless GOMEMLIMIT says when. The
// usual rule lets the heap double, however close a limit is.
func collectBelow(limit memory.Limit, logger *logrus.Logger) {
	if !limit.Hard || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	debug.SetMemoryLimit(int64(float64(limit.Bytes) * heapPart))
	logger.Infof("the heap stays below %d MiB (from %s)", int64(float64(limit.Bytes)*heapPart)>>20, limit.From)
}

// refusedEvery is how often the log tells that the memory budget is used up.
const refusedEvery = time.Minute

// refusals counts clients that were turned away since there was no memory.
type refusals struct {
	size    int64
	logger  *logrus.Logger
	refused prometheus.Counter
	cut     prometheus.Counter
	logged  atomic.Int64 // when, Unix time in ns
	since   atomic.Int64 // clients since then
}

func newRefusals(size int64, registry *prometheus.Registry, logger *logrus.Logger) *refusals {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "canopy_memory_refused_total", Help: "Clients turned away since the memory budget was used up."}, []string{"how"})
	registry.MustRegister(v)
	return &refusals{size: size, logger: logger, refused: v.WithLabelValues("refused"), cut: v.WithLabelValues("cut_off")}
}

// note counts one, and logs now and then.
func (r *refusals) note(reason memory.Reason) {
	if reason == memory.CutOff {
		r.cut.Inc()
	} else {
		r.refused.Inc()
	}
	clients := r.since.Add(1)
	now, before := time.Now().UnixNano(), r.logged.Load()
	if now-before < int64(refusedEvery) || !r.logged.CompareAndSwap(before, now) {
		return
	}
	r.since.Add(-clients)
	r.logger.Warnf("the memory budget of %d MiB is used up: %d clients were refused or cut off since this was logged last; see --memory-budget", r.size>>20, clients)
}
