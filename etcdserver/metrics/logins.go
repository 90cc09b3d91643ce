package metrics

import "github.com/prometheus/client_golang/prometheus"

// Logins counts who makes requests while users and roles matter, and who is refused.
type Logins struct {
	waiting prometheus.Gauge
	found   map[string]prometheus.Counter // by how one is known
	refused map[string]prometheus.Counter // by reason
	checked map[bool]prometheus.Counter   // by whether the password is right
}

// How a request tells who makes it.
const (
	ByPassword    = "password"
	ByToken       = "token"
	ByCertificate = "certificate"
	ByNothing     = "nothing" // a guest
)

// Why a request is refused.
const (
	NoCredentials = "credentials" // wrong, malformed, or of nobody
	NoRight       = "right"       // who asks may not do this
	NoTime        = "busy"        // too many passwords wait to be checked
)

func newLogins(f factory) *Logins {
	found := f.counters("canopy_auth_requests_total", "Requests whose user was found while users matter, by what told it.", "by")
	refused := f.counters("canopy_auth_refusals_total", "Requests refused for who makes them, by reason.", "reason")
	checked := f.counters("canopy_auth_password_checks_total", "Slow checks of a password that was not remembered, by whether it is right.", "right")
	l := &Logins{
		waiting: f.gauge("canopy_auth_password_checks_waiting", "Slow checks of passwords that wait for their turn."),
		found:   map[string]prometheus.Counter{}, refused: map[string]prometheus.Counter{},
		checked: map[bool]prometheus.Counter{true: checked.WithLabelValues("true"), false: checked.WithLabelValues("false")},
	}
	for _, by := range []string{ByPassword, ByToken, ByCertificate, ByNothing} {
		l.found[by] = found.WithLabelValues(by)
	}
	for _, reason := range []string{NoCredentials, NoRight, NoTime} {
		l.refused[reason] = refused.WithLabelValues(reason)
	}
	return l
}

// Waits tells that so many more checks wait for their turn.
func (l *Logins) Waits(more int) { l.waiting.Add(float64(more)) }

// Checked tells of a slow check.
func (l *Logins) Checked(right bool) { l.checked[right].Inc() }

// Found tells of a request whose user was found; by is one of the constants.
func (l *Logins) Found(by string) { l.found[by].Inc() }

// Refused tells of a request that was refused; reason is one of the constants.
func (l *Logins) Refused(reason string) { l.refused[reason].Inc() }
