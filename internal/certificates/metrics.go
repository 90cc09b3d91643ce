package certificates

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"canopy/internal/tlsconf"
)

// Measure makes the metrics.
func (c *Certificates) Measure(registry prometheus.Registerer) {
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "canopy_tls_handshake_failures_total", Help: "TLS handshakes on a port that failed, by reason.",
	}, []string{"port", "reason"})
	registry.MustRegister(failed, expiry{c})
	failures := func(port string, of *tlsconf.Current) *tlsconf.Failures {
		if of.Set().Certificate != nil {
			for _, reason := range tlsconf.Reasons() {
				failed.WithLabelValues(port, reason)
			}
		}
		return tlsconf.NewFailures(port, c.log, func(reason string) { failed.WithLabelValues(port, reason).Inc() })
	}
	c.ClientFailures, c.PeerFailures = failures("client", c.Client), failures("peer", c.Peer)
}

// expiry tells at each scrape when the certificates in use end.
type expiry struct{ of *Certificates }

// expires is seconds since 1970, as alerts of other programs are written: x - time() < 30 * 86400.
var expires = prometheus.NewDesc("canopy_certificate_expiry_seconds",
	"When a certificate in use ends, in seconds since 1970: the own ones, and those of authorities.", []string{"flag", "file", "subject", "serial"}, nil)

// Describe gives the only description.
func (e expiry) Describe(to chan<- *prometheus.Desc) { to <- expires }

// Collect sends one sample for each certificate.
func (e expiry) Collect(out chan<- prometheus.Metric) {
	sent := map[string]bool{}
	for _, current := range []*tlsconf.Current{e.of.Client, e.of.Peer} {
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
