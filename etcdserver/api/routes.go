package api

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"canopy/etcdserver/api/accounts"
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
		"/config/local/log": needsRoot, "/debug/": needsRoot,
	}
}

// newRouter maps all paths except those of keys. Paths are exact and are not cleaned (S2).
func newRouter(h *Handler) *mux.Router {
	r := mux.NewRouter().SkipClean(true)
	r.HandleFunc("/version", only(h.version, "GET", "HEAD"))
	r.HandleFunc("/health", only(h.health, "GET", "HEAD"))
	r.HandleFunc("/v2/machines", only(h.machines, "GET,HEAD"))
	r.HandleFunc("/v2/members", h.members)
	r.HandleFunc("/v2/members/{rest:.*}", h.members)
	r.HandleFunc("/v2/stats/self", only(h.statsSelf, "GET"))
	r.HandleFunc("/v2/stats/leader", only(h.statsLeader, "GET"))
	r.HandleFunc("/v2/stats/store", only(h.statsStore, "GET"))
	r.Handle(accounts.Prefix, h.accounts)
	r.PathPrefix(accounts.Prefix + "/").Handler(h.accounts)
	r.HandleFunc("/config/local/log", only(h.asRoot(h.logLevel), "PUT"))
	r.HandleFunc("/debug/vars", only(h.asRoot(h.debugVars), "GET"))
	r.Handle("/metrics", promhttp.HandlerFor(h.o.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax}))
	if h.o.PprofEnabled {
		h.addPprof(r)
	}
	r.NotFoundHandler = http.HandlerFunc(http.NotFound)
	return r
}

// scrapesMax is how many answers of /metrics are made at once; further requests get 503.
const scrapesMax = 16

// only serves the methods in allow and also. The Allow header names only those in allow, since old clients compare its
// text (S1, E41).
func only(serve http.HandlerFunc, allow string, also ...string) http.HandlerFunc {
	methods := append(strings.Split(allow, ","), also...)
	return func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				serve(w, r)
				return
			}
		}
		refuseMethod(w, allow)
	}
}

// IsFast tells whether the fast path of a member may serve a request: one of keys. It is answered soon, or hijacked.
func IsFast(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, keysPrefix) }

// IsShort tells whether a request is answered soon, whether its client stays or not: one of keys that is no watch. A
// parameter may hide behind an escape, so a request whose query has escapes is not short.
func IsShort(r *http.Request) bool {
	query := r.URL.RawQuery
	return IsFast(r) && !strings.Contains(query, "wait") && !strings.Contains(query, "%")
}
