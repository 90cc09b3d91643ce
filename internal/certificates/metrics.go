package certificates

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"canopy/internal/tlsconf"
)

// Measure makes the metrics.
func (c *Certificates) Measure(registry prometheus.Registerer) {
	handshakes := NewHandshakes(registry, c.log)
	c.ClientFailures, c.PeerFailures = handshakes.Of("client", c.Client), handshakes.Of("peer", c.Peer)
	MeasureExpiry(registry, c.Client, c.Peer)
}

// Handshakes counts the TLS handshakes that fail.
type Handshakes struct {
	failed *prometheus.CounterVec
	log    tlsconf.FailureLog
}

// NewHandshakes makes the counter.
func NewHandshakes(registry prometheus.Registerer, log tlsconf.FailureLog) Handshakes {
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "canopy_tls_handshake_failures_total", Help: "TLS handshakes on a port that failed, by reason.",
	}, []string{"port", "reason"})
	registry.MustRegister(failed)
	return Handshakes{failed, log}
}

// Of gives what is called with those of a port that shows a certificate.
func (h Handshakes) Of(port string, of *tlsconf.Current) *tlsconf.Failures {
	if of.Set().Certificate != nil {
		for _, reason := range tlsconf.Reasons() {
			h.failed.WithLabelValues(port, reason)
		}
	}
	return tlsconf.NewFailures(port, h.log, func(reason string) { h.failed.WithLabelValues(port, reason).Inc() })
}

// MeasureExpiry makes the metric of when certificates end.
func MeasureExpiry(registry prometheus.Registerer, of ...*tlsconf.Current) {
	registry.MustRegister(expiry(of))
}

// expiry tells at each scrape when the certificates in use end.
type expiry []*tlsconf.Current

// expires is seconds since 1970, as alerts of other programs are written: x - time() < 30 * 86400.
var expires = prometheus.NewDesc("canopy_certificate_expiry_seconds",
	"When a certificate in use ends, in seconds since 1970: the own ones, and those of authorities.", []string{"flag", "file", "subject", "serial"}, nil)

// Describe gives the only description.
func (e expiry) Describe(to chan<- *prometheus.Desc) { to <- expires }

// Collect sends one sample for each certificate.
func (e expiry) Collect(out chan<- prometheus.Metric) {
	sent := map[string]bool{}
	for _, current := range e {
		for _, held := range current.Set().Held() {
			labels := []string{held.File.Flag, held.File.Name, held.Certificate.Subject.CommonName, fmt.Sprintf("%x", held.Certificate.SerialNumber)}
			if key := fmt.Sprintf("%q", labels); !sent[key] {
				sent[key] = true
				out <- prometheus.MustNewConstMetric(expires, prometheus.GaugeValue, float64(held.Certificate.NotAfter.Unix()), labels...)
			}
		}
	}
}

// quoted is a name from a file as the log shows it.
func quoted(name string) string { return fmt.Sprintf("%.80q", name) }
