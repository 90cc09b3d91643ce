package api

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"canopy/etcdserver/api/accounts"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/api/backup"
)

// need is what a route needs of who asks, while users and roles matter.
type need uint8

const (
	needsNothing      need = iota
	needsRoot              // for all methods
	needsRootToChange      // nothing for GET
	needsOwnCheck          // package accounts checks its own
)

// needs tells what each route needs (section 2 of A). A test fails for a route that has no row.
func needs() map[string]need {
	return map[string]need{
		"/version": needsNothing, "/health": needsNothing, "/metrics": needsNothing, "/v2/machines": needsNothing,
		"/v2/stats/self": needsNothing, "/v2/stats/leader": needsNothing, "/v2/stats/store": needsNothing,
		"/v2/members": needsRootToChange, "/v2/members/{rest:.*}": needsRootToChange,
		"/v2/auth": needsOwnCheck, "/v2/auth/": needsOwnCheck,
		"/config/local/log": needsRoot, "/debug/": needsRoot, backup.Path: needsRoot,
	}
}

// newRouter maps all paths except those of keys. Paths are exact and are not cleaned (S2).
func newRouter(h *Handler) *mux.Router {
	r := mux.NewRouter().SkipClean(true)
	r.HandleFunc("/version", answer.Only(h.cluster.Version, "GET", "HEAD"))
	r.HandleFunc("/health", answer.Only(h.cluster.Health, "GET", "HEAD"))
	r.HandleFunc("/v2/machines", answer.Only(h.cluster.Machines, "GET,HEAD"))
	r.HandleFunc("/v2/members", h.cluster.Members)
	r.HandleFunc("/v2/members/{rest:.*}", h.cluster.Members)
	r.HandleFunc("/v2/stats/self", answer.Only(h.cluster.StatsSelf, "GET"))
	r.HandleFunc("/v2/stats/leader", answer.Only(h.cluster.StatsLeader, "GET"))
	r.HandleFunc("/v2/stats/store", answer.Only(h.cluster.StatsStore, "GET"))
	r.Handle(accounts.Prefix, h.accounts)
	r.PathPrefix(accounts.Prefix + "/").Handler(h.accounts)
	r.HandleFunc("/config/local/log", answer.Only(h.cluster.AsRoot(h.cluster.LogLevel), "PUT"))
	r.HandleFunc(backup.Path, answer.Only(h.cluster.AsRoot(backup.New(h.member, h.answers, h.o.Memory, h.o.Version).ServeHTTP), "GET,HEAD"))
	r.HandleFunc("/debug/vars", answer.Only(h.cluster.AsRoot(h.cluster.DebugVars), "GET"))
	r.Handle("/metrics", promhttp.HandlerFor(h.o.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax}))
	if h.o.PprofEnabled {
		h.cluster.AddPprof(r)
	}
	r.NotFoundHandler = http.HandlerFunc(http.NotFound)
	return r
}

// NewMetrics serves only /metrics and /health, for listeners of their own (F53).
func (h *Handler) NewMetrics() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.Handle("/metrics", promhttp.HandlerFor(h.o.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax}))
	r.HandleFunc("/health", answer.Only(h.cluster.Health, "GET", "HEAD"))
	r.NotFoundHandler = http.HandlerFunc(http.NotFound)
	return r
}

// scrapesMax is how many answers of /metrics are made at once; further requests get 503.
const scrapesMax = 16

// IsFast tells whether the fast path of a member may serve a request: one of keys. It is answered soon, or hijacked.
func IsFast(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, keysPrefix) }

// IsShort tells whether a request is answered soon, whether its client stays or not: one of keys that is no watch. A
// parameter may hide behind an escape, so a request whose query has escapes is not short.
func IsShort(r *http.Request) bool {
	query := r.URL.RawQuery
	return IsFast(r) && !strings.Contains(query, "wait") && !strings.Contains(query, "%")
}
