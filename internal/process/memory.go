package process

import (
	"math"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sirupsen/logrus"

	"canopy/internal/memory"
)

// MemoryBudget makes the budget for memory that clients occupy, and keeps the
// heap below the memory limit of the process, if there is one. Size 0 is the
// default under that limit.
func (p *Process) MemoryBudget(size int64, registry *prometheus.Registry) (*memory.Budget, memory.Limit) {
	limit := memory.FindLimit(os.DirFS("/"))
	collectBelow(limit, p.Log)
	from := "--memory-budget"
	if size == 0 {
		size, from = limit.Budget(), limit.From
	}
	p.Log.Infof("the memory budget for clients is %d MiB (from %s)", size>>20, from)
	refusals := newRefusals(size, registry, p.Log)
	budget := memory.New(size, refusals.count)
	gauge := func(name, help string, value func() int64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("canopy_memory_budget_bytes", "Memory that clients may occupy.", budget.Max)
	gauge("canopy_memory_budget_used_bytes", "Memory that clients occupy.", budget.Used)
	return budget, limit
}

// NewRegistry makes a registry with the metrics of Go's runtime and of the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// heapPart is the part of a memory limit that the heap may use. The rest is for
// the stacks of threads, the program, and what the system counts for it.
const heapPart = 0.85

// collectBelow sets the runtime's memory limit, unless GOMEMLIMIT does. Without
// it the heap doubles between collections, also where that exceeds the limit.
func collectBelow(limit memory.Limit, logger *logrus.Logger) {
	if !limit.Hard || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	debug.SetMemoryLimit(int64(float64(limit.Bytes) * heapPart))
	logger.Infof("the heap stays below %d MiB (from %s)", int64(float64(limit.Bytes)*heapPart)>>20, limit.From)
}

// refusedEvery is the time between log lines about a memory budget that is used up.
const refusedEvery = time.Minute

// refusals counts clients that were refused or cut off for lack of memory.
type refusals struct {
	size    int64
	logger  *logrus.Logger
	refused prometheus.Counter
	cut     prometheus.Counter
	began   time.Time
	next    atomic.Int64 // ns since began, from when on the next line may be logged
	since   atomic.Int64 // clients since the last line
}

func newRefusals(size int64, registry *prometheus.Registry, logger *logrus.Logger) *refusals {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "canopy_memory_refused_total", Help: "Clients refused or cut off since the memory budget was used up."}, []string{"how"})
	registry.MustRegister(v)
	return &refusals{size: size, logger: logger, began: time.Now(), refused: v.WithLabelValues("refused"), cut: v.WithLabelValues("cut_off")}
}

// count counts a client, and logs at most once per refusedEvery.
func (r *refusals) count(reason memory.Reason) {
	if reason == memory.CutOff {
		r.cut.Inc()
	} else {
		r.refused.Inc()
	}
	clients := r.since.Add(1)
	now, next := int64(time.Since(r.began)), r.next.Load()
	if now < next || !r.next.CompareAndSwap(next, now+int64(refusedEvery)) {
		return
	}
	r.since.Add(-clients)
	r.logger.Warnf("the memory budget of %d MiB is used up: %d clients were refused or cut off since the last line like this; see --memory-budget", r.size>>20, clients)
}
