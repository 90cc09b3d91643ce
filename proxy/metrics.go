package proxy

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the metrics of a proxy (S27), in addition to those of its process and of Go.
type metrics struct {
	watches prometheus.Gauge

	methods    map[string]*methodMetrics // read only
	others     *methodMetrics            // of all other methods: clients must not be able to make labels
	handledAll *prometheus.CounterVec
	droppedBy  *prometheus.CounterVec
}

// methodMetrics are the metrics of one method.
type methodMetrics struct {
	label    string
	requests prometheus.Counter
	handling prometheus.Observer
	good     prometheus.Counter // handled with status 200
}

// These are the reasons of dropped requests. Their series exist from the start, so that the first drop is an increase.
const (
	notSent     = "failed_sending_request"
	notAnswered = "failed_getting_response"
	noEndpoint  = "zero_endpoints"
)

// Buckets of S27: 0.0005 s to 2.048 s.
const (
	shortestRequest = 0.0005
	requestBuckets  = 13
)

func newMetrics(reg prometheus.Registerer) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	requests := counters("etcd_proxy_requests_total", "Requests received.", "method")
	handling := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "etcd_proxy_handling_duration_seconds", Help: "Time until a request was answered by a member.",
		Buckets: prometheus.ExponentialBuckets(shortestRequest, 2, requestBuckets),
	}, []string{"method"})
	m := &metrics{
		watches:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "canopy_proxy_watches", Help: "Watches that are open."}),
		methods:    map[string]*methodMetrics{},
		handledAll: counters("etcd_proxy_handled_total", "Requests answered by a member.", "method", "code"),
		droppedBy:  counters("etcd_proxy_dropped_total", "Failures to have a request answered.", "method", "proxying_error"),
	}
	reg.MustRegister(handling, m.watches)
	of := func(label string) *methodMetrics {
		for _, status := range []int{http.StatusCreated, http.StatusBadRequest, http.StatusNotFound, http.StatusPreconditionFailed, http.StatusServiceUnavailable} {
			m.handledAll.WithLabelValues(label, strconv.Itoa(status))
		}
		for _, reason := range []string{notSent, notAnswered, noEndpoint} {
			m.droppedBy.WithLabelValues(label, reason)
		}
		return &methodMetrics{label, requests.WithLabelValues(label), handling.WithLabelValues(label), m.handledAll.WithLabelValues(label, "200")}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		m.methods[method] = of(method)
	}
	m.others = of("other")
	return m
}

func (m *metrics) of(method string) *methodMetrics {
	if known := m.methods[method]; known != nil {
		return known
	}
	return m.others
}

// received counts a request, whatever its outcome.
func (m *metrics) received(method string) { m.of(method).requests.Inc() }

// handled counts an answer of a member.
func (m *metrics) handled(method string, status int, d time.Duration) {
	of := m.of(method)
	of.handling.Observe(d.Seconds())
	if status == http.StatusOK {
		of.good.Inc()
		return
	}
	m.handledAll.WithLabelValues(of.label, strconv.Itoa(status)).Inc()
}

// dropped counts a try without an answer.
func (m *metrics) dropped(method string, how try) {
	reason := notSent
	if how == lost {
		reason = notAnswered
	}
	m.droppedBy.WithLabelValues(m.of(method).label, reason).Inc()
}

// droppedForNone counts a request without an endpoint.
func (m *metrics) droppedForNone(method string) {
	m.droppedBy.WithLabelValues(m.of(method).label, noEndpoint).Inc()
}
