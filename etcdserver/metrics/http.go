package metrics

import "github.com/prometheus/client_golang/prometheus"

// HTTP counts what the ports of a member or a proxy let in and refuse.
type HTTP struct {
	OpenConnections prometheus.Gauge // that count against the budget of all client listeners

	refused *prometheus.CounterVec
}

// NewProxyHTTP makes those of a proxy, registered with reg.
func NewProxyHTTP(reg prometheus.Registerer) *HTTP { return newHTTP(reg, proxyRefusals()) }

func newHTTP(reg prometheus.Registerer, reasons []string) *HTTP {
	f := factory{reg}
	h := &HTTP{
		OpenConnections: f.gauge("canopy_http_connections", "Client connections that are open, on all listeners."),
		refused:         f.counters("canopy_http_refused_total", "Requests and connections refused by a limit or a guard.", "reason"),
	}
	for _, reason := range reasons {
		h.refused.WithLabelValues(reason)
	}
	return h
}

// refusals and proxyRefusals are what Refused is called with. Their series are there from the beginning: of a counter
// that appears with its first count, nobody sees that count as an increase.
func refusals() []string {
	return []string{"value", "slow_body", "body", "depth", "host", "origin", "rights", "watches", "connection", "idle connection", "spare connection", "peer connection"}
}

func proxyRefusals() []string {
	return []string{"slow_body", "host", "origin", "connection", "idle connection", "spare connection"}
}

// Refused counts one request or connection that a limit or a guard turned away. There are few reasons, all from this
// program: no text that a client sent.
func (h *HTTP) Refused(reason string) { h.refused.WithLabelValues(reason).Inc() }
