package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The proxy's own paths (P36, P37). Everything else is the members'.
const (
	pathMetrics   = "/metrics"
	pathEndpoints = "/v2/config/local/proxy"
	pathHealth    = "/v2/config/local/health"
)

// Access is one request that was answered, for the log.
type Access struct {
	Method, Path, RemoteAddr, UserAgent string
	Status                              int // 0 if the connection was cut
	Bytes                               int64
	Duration                            time.Duration
}

// ServeHTTP answers a request, or has a member answer it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.metrics.received(r.Method)
	if p.o.AccessLog == nil {
		p.serve(w, r)
		return
	}
	counting, begin := &countingWriter{ResponseWriter: w}, time.Now()
	defer func() { // also when the connection is cut
		p.o.AccessLog(Access{r.Method, r.URL.Path, r.RemoteAddr, r.UserAgent(), counting.status, counting.bytes, time.Since(begin)})
	}()
	p.serve(counting, r)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == pathMetrics {
		p.scrapes.ServeHTTP(w, r)
		return
	}
	if !p.admit(w, r) {
		return
	}
	switch {
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

// NewMetrics serves /metrics and the health of this proxy, as /health, for listeners of their own (F53).
func (p *Proxy) NewMetrics() http.Handler {
	m := http.NewServeMux()
	m.Handle(pathMetrics, p.scrapes)
	m.HandleFunc("/health", p.serveHealth)
	return m
}

// admit answers what concerns no path in particular; false means that the request has been answered.
func (p *Proxy) admit(w http.ResponseWriter, r *http.Request) bool {
	if p.o.AllowHost != nil && !p.o.AllowHost(r.Host, true) && !p.o.AllowHost(r.Host, cameToLoopback(r)) {
		writeMessage(w, http.StatusMisdirectedRequest, "the Host "+r.Host+" is not served here; see --host-whitelist")
		return false
	}
	if len(p.o.Origins) > 0 && !p.admitOrigin(w, r) {
		return false
	}
	if r.Method == http.MethodOptions { // K7, S47
		w.WriteHeader(http.StatusOK)
		return false
	}
	return true
}

// cameToLoopback tells whether the connection ends at a loopback address of ours, for all that is known.
func cameToLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || addr.IP.IsLoopback()
}

// admitOrigin says which web pages may read answers, in place of what members say (S44 to S46), and refuses writes
// from pages of other origins.
func (p *Proxy) admitOrigin(w http.ResponseWriter, r *http.Request) bool {
	origin, header := strings.Join(r.Header["Origin"], ","), w.Header()
	all := slices.Contains(p.o.Origins, "*")
	allowed := all || slices.Contains(p.o.Origins, origin)
	if allowed {
		header.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, HEAD")
		header.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
		header.Set("Access-Control-Expose-Headers", "X-Etcd-Index, X-Raft-Index, X-Raft-Term, X-Etcd-Cluster-Id")
		header.Set("Access-Control-Allow-Origin", map[bool]string{true: "*", false: origin}[all])
	}
	if !all {
		header.Add("Vary", "Origin")
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if allowed || reads || origin == "" || isSameOrigin(origin, r.Host) {
		return true
	}
	writeMessage(w, http.StatusForbidden, "writes from the origin "+origin+" are not allowed; see --cors")
	return false
}

// isSameOrigin tells whether a page of this origin came from this very server.
func isSameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// serveEndpoints lists the endpoints that are well, in the order of preference, and says why the others are not (P36,
// P44).
func (p *Proxy) serveEndpoints(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	type resting struct {
		Endpoint string    `json:"endpoint"`
		Reason   string    `json:"reason"`
		Since    time.Time `json:"since"`
	}
	answer := struct {
		Endpoints   []string  `json:"endpoints"`
		Unavailable []resting `json:"unavailable,omitempty"`
	}{Endpoints: []string{}}
	for _, e := range p.list.all() {
		if rest := e.resting.Load(); rest != nil {
			answer.Unavailable = append(answer.Unavailable, resting{e.url, rest.reason, rest.since.UTC()})
		} else {
			answer.Endpoints = append(answer.Endpoints, e.url)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer) // fails if the client has left
}

// serveHealth tells whether some member has answered within the last refresh interval (P37).
func (p *Proxy) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	since := time.Now().Add(-max(p.o.RefreshInterval, 2*p.o.FailureWait)).UnixNano()
	healthy := slices.ContainsFunc(p.list.all(), func(e *endpoint) bool {
		return e.resting.Load() == nil && e.answered.Load() > since
	})
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

// countingWriter remembers what was answered.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *countingWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
