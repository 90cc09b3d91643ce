// Package service is a discovery service: a place in a v2 cluster where the
// processes of a cluster to be find each other.
//
//	GET /new?size=3            makes a token, and answers with its URL, for --discovery
//	GET|PUT /<token>           the processes that have registered; waiting for them
//	GET|PUT|DELETE /<token>/<id>
//	GET /<token>/_config/size
//
// The service keeps nothing itself. A token is the directory
// /_etcd/registry/<token> of the store, whose life the store ends; requests are
// passed on, and answers come back as they are (discovery.md section 4). What
// it adds is a door: nothing comes in that would stop all others later, nobody
// takes more than his share, and tokens that nobody asks for vanish.
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

// Log takes lines for people.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// Options say how a Service behaves.
type Options struct {
	// Store carries requests for /v2/keys to a v2 cluster, whatever host they are for; required. See Endpoints.
	Store http.RoundTripper

	Host      string               // begins the URLs of tokens, as in https://disco.example; "": as the request says
	TokenTTL  time.Duration        // how long a token lives that nobody asks for; 0: for ever
	Rate      float64              // requests a second that one address may make; 0: no limit
	NewRate   float64              // tokens an hour that one address may make; 0: no limit
	Memory    *memory.Budget       // for what requests take; nil: no bound
	Forwarded bool                 // there is a proxy in front that says who asks: X-Forwarded-For, -Proto
	Registry  *prometheus.Registry // for /metrics; required
	Log       Log                  // required
}

// Service is an http.Handler.
type Service struct {
	o      Options
	store  store
	pass   *httputil.ReverseProxy
	doors  doors
	askers *limiter
	makers *limiter
	waits  waiters

	health, tokens, made, metrics http.Handler
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.Memory == nil {
		o.Memory = memory.New(math.MaxInt64, nil)
	}
	s := &Service{
		o: o, store: newStore(o.Store), doors: doors{chance: maphash.MakeSeed()},
		askers: newLimiter(o.Rate, burst(o.Rate, 5)),
		waits:  newWaiters(o.Memory.Max()),
		makers: newLimiter(o.NewRate/time.Hour.Seconds(), burst(o.NewRate, 1.0/6)),
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
	if !s.askers.allow(s.address(r)) {
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

// requestBytes is what a request takes: its body, which is passed on as another
// one, the piece of the answer that is being passed on, and a connection to the
// store. Its own connection takes connectionBytes.
const (
	requestBytes    = 96 << 10
	connectionBytes = httpserver.ConnectionBytes
)

// isForOperators tells whether a request is answered when there is no memory for others.
func isForOperators(r *http.Request) bool { return r.URL.Path == "/health" || r.URL.Path == "/metrics" }

// readBody reads the body of a request to its end before anything is done for it, so that no request is carried out of
// which only a part has come.
func readBody(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil && r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return io.ErrUnexpectedEOF // trailers and HTTP/2 have words of their own for it
	}
	return err
}

// serveToken lets only those requests through that mean something (D32).
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

// split gives the token that a request is about, and what below it.
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

// serveManual says what this is, to who opens it in a browser.
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

// base is what the URLs of tokens begin with.
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
