package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// target is the server being measured.
type target struct {
	endpoint string
	server   *server     // nil if it was not started here
	tls      *tls.Config // nil: plain
	who      string      // a header line with credentials, or ""
	each     bool        // the load has a goroutine for each connection, as with TLS
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
		{"connect", "connections, each with one read of a key; with TLS, full handshakes", "per_second", false, runConnect},
		{"resume", "the same with sessions that are resumed", "per_second", false, runResume},
		{"watch", "events delivered to many streams of one key", "events_per_second", false, runWatch},
		{"list", "writes while all keys are listed again and again", "max_ms", false, runList},
		{"held", "writes while many keys are held and snapshots are taken", "max_ms", false, runHeld},
		{"expiry", "how late keys with a ttl expire", "late_max_ms", false, runExpiry},
		{"memory", "resident bytes a key", "bytes_per_key", true, runMemory},
		{"idle-streams", "resident bytes a stream that waits", "bytes_per_watcher", true, runIdleStreams},
		{"idle-polls", "resident bytes a long poll that waits", "bytes_per_watcher", true, runIdlePolls},
		{"fresh", "memory and disk of a server that holds nothing", "resident_mib", true, runFresh},
		{"first-logins", "reads while --users users are seen for the first time at once", "p99_ratio", true, runFirstLogins},
		{"wrong-passwords", "writes while --wrong wrong passwords a second arrive", "rate_ratio", true, runWrongPasswords},
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
	begin := time.Now()
	took, err := drive(ctx, t, connections, func(connection, n int) []byte {
		if time.Since(begin) > o.duration {
			return nil
		}
		return next(connection, n)
	})
	if err != nil {
		return result{}, err
	}
	return summary(took, time.Since(begin)), nil
}

// badStatus is the error of a request that was not answered with success.
func badStatus(request []byte, answer string) error {
	return fmt.Errorf("%.60q was answered with %.600q", request, answer)
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
	_, err := drive(ctx, t, connections, func(connection, n int) []byte {
		if n = n*connections + connection; n >= keys {
			return nil
		}
		return t.put(key(n), valueBytes, "")
	})
	return err
}
