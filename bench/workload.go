package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// target is the server being measured.
type target struct {
	endpoint string
	server   *server // nil if it was not started here
}

// result is one measurement. Figures beside the latencies are in extra, by
// name with its unit.
type result struct {
	Requests   uint64             `json:"requests"`
	Throughput float64            `json:"per_second"`
	P50        float64            `json:"p50_ms"`
	P99        float64            `json:"p99_ms"`
	P999       float64            `json:"p999_ms"`
	Max        float64            `json:"max_ms"`
	Extra      map[string]float64 `json:"extra,omitempty"`
}

// workload is one thing to measure. The headline is the figure that servers
// are compared by.
type workload struct {
	name     string
	about    string
	headline string // a field of result's JSON, or a name in extra
	owns     bool   // it stops or kills the server: only for servers started here
	run      func(ctx context.Context, t target, o options) (result, error)
}

// workloads in the order of --help.
func workloads() []workload {
	return []workload{
		{"put", "writes of keys in turn", "per_second", false, runPut},
		{"put1", "writes over one connection", "per_second", false, runPutAlone},
		{"get", "reads of one key", "per_second", false, runGet},
		{"quorum-get", "linearizable reads of one key", "per_second", false, runQuorumGet},
		{"watch", "events delivered to many streams of one key", "events_per_second", false, runWatch},
		{"list", "writes while all keys are listed again and again", "max_ms", false, runList},
		{"held", "writes while many keys are held and snapshots are taken", "max_ms", false, runHeld},
		{"expiry", "how late keys with a ttl expire", "late_max_ms", false, runExpiry},
		{"memory", "resident bytes a key", "bytes_per_key", true, runMemory},
		{"restart", "from kill -9 to the first answer", "restart_ms", true, runRestart},
	}
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return names
}

func choose(names []string) ([]workload, error) {
	if len(names) == 1 && names[0] == "all" {
		return workloads(), nil
	}
	var chosen []workload
	for _, name := range names {
		found := false
		for _, w := range workloads() {
			if w.name == name {
				chosen, found = append(chosen, w), true
			}
		}
		if !found {
			return nil, fmt.Errorf("--workload: there is no %q, only %s and all", name, strings.Join(workloadNames(), ", "))
		}
	}
	return chosen, nil
}

// closedLoop runs requests over so many connections for the duration of o.
// next gives the n-th request of a connection.
func closedLoop(ctx context.Context, t target, o options, connections int, next func(connection, n int) []byte) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	histograms := make([]histogram, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range connections {
		all.Go(func() { errs[i] = loop(ctx, t, &histograms[i], func(n int) []byte { return next(i, n) }) })
	}
	all.Wait()
	elapsed := time.Since(begin)
	var sum histogram
	for i := range histograms {
		sum.merge(&histograms[i])
	}
	return summary(&sum, elapsed), errors.Join(errs...)
}

func loop(ctx context.Context, t target, h *histogram, next func(n int) []byte) error {
	c, err := dial(t.endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 0; ctx.Err() == nil; n++ {
		request := next(n)
		begin := time.Now()
		status, err := c.exchange(request, nil)
		if err != nil {
			return err
		}
		if status != 200 && status != 201 {
			return fmt.Errorf("%.60q was answered with status %d", request, status)
		}
		h.add(time.Since(begin))
	}
	return nil
}

func summary(h *histogram, elapsed time.Duration) result {
	return result{
		Requests:   h.total,
		Throughput: float64(h.total) / elapsed.Seconds(),
		P50:        milliseconds(h.quantile(0.5)),
		P99:        milliseconds(h.quantile(0.99)),
		P999:       milliseconds(h.quantile(0.999)),
		Max:        milliseconds(h.max),
		Extra:      map[string]float64{},
	}
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

func key(n int) string { return fmt.Sprintf("/bench/%08d", n) }

// preload writes keys 0 to n-1 over several connections.
func preload(ctx context.Context, t target, keys, valueBytes int) error {
	const connections = 64
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { errs[i] = preloadPart(ctx, t, i, connections, keys, valueBytes) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func preloadPart(ctx context.Context, t target, first, step, keys, valueBytes int) error {
	c, err := dial(t.endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	for n := first; n < keys && ctx.Err() == nil; n += step {
		status, err := c.exchange(putRequest(key(n), valueBytes, ""), nil)
		if err != nil {
			return err
		}
		if status != 200 && status != 201 {
			return fmt.Errorf("writing key %d: status %d", n, status)
		}
	}
	return ctx.Err()
}
