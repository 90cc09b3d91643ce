package main

import (
	"encoding/json"
	"net/http"
	"sync/atomic"

	"canopy/etcdserver"
)

// gate is what a listener serves from the moment it is bound. Until the member
// is there, because its log is being read or its cluster is being asked, it
// says so instead of letting clients wait (F32).
type gate struct {
	behind  atomic.Pointer[http.Handler]
	leaving atomic.Bool
}

// open lets requests through to a handler from now on.
func (g *gate) open(h http.Handler) { g.behind.Store(&h) }

// leave has each answer from now on tell the client that its connection ends, so
// that it goes elsewhere before the port is closed. A request on a connection
// that is just being closed is lost, and nobody knows whether it was done.
func (g *gate) leave() { g.leaving.Store(true) }

// ServeHTTP serves what is behind the gate, or says that it is closed.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	if h := g.behind.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	status, answer := http.StatusServiceUnavailable, map[string]string{"message": "the member is starting: it reads its log, or looks for its cluster"}
	if r.URL.Path == "/version" {
		status, answer = http.StatusOK, map[string]string{"etcdserver": etcdserver.APIVersion, "etcdcluster": "not_decided"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		return // the client is gone
	}
}
