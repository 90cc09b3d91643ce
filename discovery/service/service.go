// Package service is a discovery service: the processes of a new cluster find
// each other in a v2 cluster behind it.
//
//	GET /new?size=3            makes a token, and answers with its URL, for --discovery
//	GET|PUT /<token>           the processes that have registered; waiting for them
//	GET|PUT|DELETE /<token>/<id>
//	GET /<token>/_config/size
//
// The service stores nothing itself. A token is the directory
// /_etcd/registry/<token> of the store, with a TTL; requests are forwarded, and
// answers come back unchanged (discovery.md section 4). The service refuses
// registrations that would stop all others later, limits each client, and lets
// unused tokens expire.
package service

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"math"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"canopy/client"
	"canopy/internal/httpserver"
	"canopy/internal/memory"
)

// Log takes lines for operators.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// Options are the settings of a Service.
type Options struct {
	// Store carries requests for /v2/keys to a v2 cluster, whatever their host is; required. See Endpoints.
	Store http.RoundTripper

	Host      string               // start of the URLs of tokens, like https://disco.example; "": from the request
	TokenTTL  time.Duration        // TTL of a token that is not used; 0: none
	Rate      float64              // requests a second that one address may make; 0: no limit
	NewRate   float64              // tokens an hour that one address may make; 0: no limit
	Memory    *memory.Budget       // for what requests take; nil: no bound
	Forwarded bool                 // a proxy in front sends the client in X-Forwarded-For and -Proto
	Registry  *prometheus.Registry // for /metrics; required
	Log       Log                  // required
}

// Service is an http.Handler.
type Service struct {
	o             Options
	store         store
	pass          *httputil.ReverseProxy
	locks         tokenLocks
	requestLimit  *limiter
	newTokenLimit *limiter
	waits         waiters

	health, tokens, made, metrics http.Handler
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.Memory == nil {
		o.Memory = memory.New(math.MaxInt64, nil)
	}
	s := &Service{
		o: o, store: newStore(o.Store), locks: tokenLocks{seed: maphash.MakeSeed()},
		requestLimit:  newLimiter(o.Rate, burst(o.Rate, 5)),
		waits:         newWaiters(o.Memory.Max()),
		newTokenLimit: newLimiter(o.NewRate/time.Hour.Seconds(), burst(o.NewRate, 1.0/6)),
	}
	s.pass = s.newPass()
	s.made = counted(o.Registry, "endpoint_new_requests_total", "Requests for a new token.", s.serveNew)
	s.tokens = counted(o.Registry, "endpoint_token_requests_total", "Requests for a token and what is below it.", s.serveKey)
	s.health = counted(o.Registry, "endpoint_health_requests_total", "Requests for the health of the service.", s.serveHealth)
	s.metrics = promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{})
	return s
}

// ServeHTTP answers a request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.requestLimit.allow(s.address(r)) {
		tooMany(w)
		return
	}
	if !isForOperators(r) {
		if !s.o.Memory.Take(requestBytes) {
			noMemory(w)
			return
		}
		defer s.o.Memory.Give(requestBytes)
	}
	if err := readBody(w, r); err != nil {
		writeError(w, &client.Error{Code: client.ErrInvalidForm, Message: "Invalid POST form", Cause: err.Error(), Status: http.StatusBadRequest})
		return
	}
	switch r.URL.Path {
	case "/":
		only(w, r, http.HandlerFunc(s.serveManual), "GET", "HEAD")
	case "/robots.txt":
		only(w, r, http.HandlerFunc(serveRobots), "GET", "HEAD")
	case "/metrics":
		only(w, r, s.metrics, "GET", "HEAD")
	case "/health":
		only(w, r, s.health, "GET", "HEAD")
	case "/new":
		only(w, r, s.made, "GET", "PUT", "POST")
	default:
		s.serveToken(w, r)
	}
}

// requestBytes is the memory of a request: its body, a copy for the store, the
// piece of the answer that is being forwarded, and a connection to the store. Its own connection takes connectionBytes.
const (
	requestBytes    = 96 << 10
	connectionBytes = httpserver.ConnectionBytes
)

// isForOperators tells whether a request is answered when the memory is used up.
func isForOperators(r *http.Request) bool { return r.URL.Path == "/health" || r.URL.Path == "/metrics" }

// readBody reads the body of a request to its end before anything is done, so that no incomplete request is carried out.
func readBody(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil && r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return io.ErrUnexpectedEOF // trailers and HTTP/2 have errors of their own for it
	}
	return err
}

// serveToken serves only requests that have a meaning (D32).
func (s *Service) serveToken(w http.ResponseWriter, r *http.Request) {
	token, below := split(r)
	switch {
	case !isToken(token):
		http.NotFound(w, r)
	case below == "":
		only(w, r, s.tokens, "GET", "PUT")
	case below == "_config/size":
		only(w, r, s.tokens, "GET")
	case !strings.Contains(below, "/") && below[0] != '_':
		only(w, r, s.tokens, "GET", "PUT", "DELETE")
	default:
		http.NotFound(w, r)
	}
}

// split gives the token of a request, and the path below it.
func split(r *http.Request) (token, below string) {
	token, below, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return token, below
}

// isToken tells whether a text is 32 lower-case hex digits (D30).
func isToken(text string) bool {
	return len(text) == 32 && !strings.ContainsFunc(text, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

// only serves some methods, and answers 405 to others.
func only(w http.ResponseWriter, r *http.Request, serve http.Handler, methods ...string) {
	for _, m := range methods {
		if r.Method == m {
			serve.ServeHTTP(w, r)
			return
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	w.WriteHeader(http.StatusMethodNotAllowed)
}

func serveRobots(w http.ResponseWriter, _ *http.Request) { writeText(w, "User-agent: *\nDisallow: /") }

// serveManual explains the service to a person with a browser.
func (s *Service) serveManual(w http.ResponseWriter, r *http.Request) {
	base := s.base(r)
	writeText(w, "A discovery service for canopy and etcd 2.\n\n"+
		"  curl "+base+"/new?size=3          a token for a cluster of three members\n"+
		"  canopy --discovery "+base+"/<token> …      on each of three machines\n")
}

// serveHealth makes a token and deletes it again (D34).
func (s *Service) serveHealth(w http.ResponseWriter, r *http.Request) {
	token := newToken()
	err := s.store.create(r.Context(), token, "0", time.Minute)
	if err == nil {
		err = s.store.remove(r.Context(), token)
	}
	if err != nil {
		s.o.Log.Warnf("health: %v", err)
		writeMessage(w, http.StatusServiceUnavailable, "the store is not available")
		return
	}
	writeText(w, "OK")
}

// base is the start of the URLs of tokens.
func (s *Service) base(r *http.Request) string {
	if s.o.Host != "" {
		return strings.TrimSuffix(s.o.Host, "/")
	}
	scheme := "http"
	if r.TLS != nil || s.o.Forwarded && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
