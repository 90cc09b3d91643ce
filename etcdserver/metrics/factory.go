package metrics

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// factory makes metrics and registers them.
type factory struct{ reg prometheus.Registerer }

func (f factory) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	f.reg.MustRegister(c)
	return c
}

func (f factory) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	f.reg.MustRegister(c)
	return c
}

func (f factory) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	f.reg.MustRegister(g)
	return g
}

func (f factory) histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(shortestWrite, 2, writeBuckets),
	})
	f.reg.MustRegister(h)
	return h
}

// usualFailures are the statuses of errors whose series are there from the beginning.
func usualFailures() []int {
	return []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusPreconditionFailed,
		http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusInsufficientStorage}
}

// addKeys makes the metrics of requests to /v2/keys.
func (f factory) addKeys(s *Set) {
	received := f.counters("etcd_http_received_total", "Key requests parsed and authorised, watches not counted.", "method")
	failed := f.counters("etcd_http_failed_total", "Key requests answered with an error, by HTTP status.", "method", "code")
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "etcd_http_successful_duration_second",
		Help:    "Seconds to serve a key request that succeeded.",
		Buckets: prometheus.ExponentialBuckets(shortestRequest, 2, requestBuckets),
	}, []string{"method"})
	f.reg.MustRegister(durations)
	keys := func(method string) *Keys {
		for _, status := range usualFailures() {
			failed.WithLabelValues(method, strconv.Itoa(status))
		}
		return &Keys{
			Received: received.WithLabelValues(method),
			Duration: durations.WithLabelValues(method),
			failed:   failed,
			method:   method,
		}
	}
	s.quorum = keys("QGET")
	s.keys = map[string]*Keys{}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete} {
		s.keys[method] = keys(method)
	}
	reads := f.counters("etcd_store_reads_total", "Reads of the store here, failures included.", "action")
	s.reads = pair{reads.WithLabelValues("get"), reads.WithLabelValues("getRecursive")}
	missed := f.counters("etcd_store_reads_failed_total", "Reads of the store here that found nothing.", "action")
	s.missed = pair{missed.WithLabelValues("get"), missed.WithLabelValues("getRecursive")}
}

// addMember makes the metrics that the member feeds by methods.
func (f factory) addMember(s *Set) {
	s.proposals = f.histogram("etcd_server_proposal_durations_seconds", "Seconds from proposing to applying.")
	s.proposalsFailed = [2]prometheus.Counter{
		f.counter("etcd_server_proposal_failed_total", "Proposals that timed out for the client."),
		f.counter("etcd_server_proposals_failed_total", "Proposals that timed out for the client."),
	}
	s.pending = [2]prometheus.Gauge{
		f.gauge("etcd_server_pending_proposal_total", "Proposals that wait to be applied."),
		f.gauge("etcd_server_proposals_pending", "Proposals that wait to be applied."),
	}
	s.fsync = [2]prometheus.Observer{
		f.histogram("etcd_wal_fsync_durations_seconds", "Seconds of each sync of the log."),
		f.histogram("etcd_disk_wal_fsync_duration_seconds", "Seconds of each sync of the log."),
	}
	s.apply = f.histogram("canopy_apply_duration_seconds", "Seconds to apply a batch of entries.")
	s.slowApplies = f.counter("etcd_server_slow_apply_total", "Batches that took longer than 100 ms to apply.")
	s.snapshot = f.histogram("etcd_snapshot_save_total_durations_seconds", "Seconds to save a snapshot.")
	s.marshalling = f.histogram("etcd_snapshot_save_marshalling_durations_seconds", "Seconds to encode a snapshot.")
}
