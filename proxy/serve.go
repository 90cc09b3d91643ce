package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"canopy/internal/middleware"
)

// The proxy's own paths (P36, P37). All others belong to members.
const (
	pathMetrics   = "/metrics"
	pathEndpoints = "/v2/config/local/proxy"
	pathHealth    = "/v2/config/local/health"
)

// ServeHTTP answers a request, or makes a member answer it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.metrics.received(r.Method)
	if p.o.AccessLog == nil {
		p.serve(w, r)
		return
	}
	middleware.Log(w, r, p.serve, p.o.AccessLog)
}

// serve checks who asks and answers. The metrics and the list of endpoints have no CORS headers (S32, P36).
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	private := r.URL.Path == pathMetrics || r.URL.Path == pathEndpoints
	if !p.guard.AdmitHost(w, r) || !private && !p.guard.AdmitOrigin(w, r) || middleware.AnswerOptions(w, r) {
		return
	}
	switch {
	case r.URL.Path == pathMetrics:
		p.scrapes.ServeHTTP(w, r)
	case r.URL.Path == pathEndpoints:
		p.serveEndpoints(w, r)
	case r.URL.Path == pathHealth:
		p.serveHealth(w, r)
	case p.o.Readonly && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.WriteHeader(http.StatusNotImplemented)
	default:
		p.forward(w, r)
	}
}

// refuseForeign answers a request that the guard refuses.
func (p *Proxy) refuseForeign(w http.ResponseWriter, _ *http.Request, status int, reason, message string) {
	p.o.Refused(reason)
	writeMessage(w, status, message)
}

// NewMetrics serves /metrics and the health of this proxy, as /health, for listeners of their own (F53).
func (p *Proxy) NewMetrics() http.Handler {
	m := http.NewServeMux()
	m.Handle(pathMetrics, p.scrapes)
	m.HandleFunc("/health", p.serveHealth)
	return m
}

// serveEndpoints lists the available endpoints in the order of preference, and tells why the others are unavailable (P36,
// P44).
func (p *Proxy) serveEndpoints(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	type unavailable struct {
		Endpoint string    `json:"endpoint"`
		Reason   string    `json:"reason"`
		Since    time.Time `json:"since"`
	}
	answer := struct {
		Endpoints   []string      `json:"endpoints"`
		Unavailable []unavailable `json:"unavailable,omitempty"`
	}{Endpoints: []string{}}
	for _, e := range p.cluster.Endpoints() {
		if outage := e.Outage(); outage != nil {
			answer.Unavailable = append(answer.Unavailable, unavailable{e.URL, outage.Reason, outage.Since.UTC()})
		} else {
			answer.Endpoints = append(answer.Endpoints, e.URL)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer) // fails if the client has left
}

// serveHealth tells whether a member has answered within the last refresh interval (P37).
func (p *Proxy) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	healthy := p.cluster.IsHealthy()
	w.Header().Set("Content-Type", "application/json")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, `{"health": "%t"}`, healthy)
}

// onlyGet refuses other methods.
func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead && r.URL.Path != pathEndpoints {
		return true
	}
	w.Header().Set("Allow", "GET")
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}
