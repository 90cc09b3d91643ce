package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver"
	"canopy/internal/middleware"
)

// gate is what a listener serves from the moment it is bound. Until the member
// is there, because its log is being read or its cluster is being asked,
// requests wait for as long as a start usually takes: a script that writes as
// soon as the port is open finds a member. If it takes longer, they are told so
// (F32).
type gate struct {
	behind  atomic.Pointer[http.Handler]
	leaving atomic.Bool

	// What follows is set before the gate is used, by hold; without it no request waits.
	until   time.Time     // requests wait till then
	forBody time.Duration // that a request has for its body once it has waited
	changed chan struct{} // closed when the gate opens, or is about to close
	change  func()        // closes it, once
	held    atomic.Int64  // requests that wait; at most heldMax
	early   http.Handler  // of /metrics, until the gate opens; nil: none
}

// heldMax bounds the requests that wait: each has a connection and a goroutine.
const heldMax = 1024

// hold has requests wait for the gate to open, for so long from now.
func (g *gate) hold(grace, forBody time.Duration) {
	g.until, g.forBody = time.Now().Add(grace), forBody
	g.changed = make(chan struct{})
	g.change = sync.OnceFunc(func() { close(g.changed) })
}

// open lets requests through to a handler from now on.
func (g *gate) open(h http.Handler) {
	g.behind.Store(&h)
	g.wake()
}

// leave has each answer from now on tell the client that its connection ends, so
// that it goes elsewhere before the port is closed. A request on a connection
// that is just being closed is lost, and nobody knows whether it was done.
func (g *gate) leave() {
	g.leaving.Store(true)
	g.wake()
}

// wake ends the waiting of requests.
func (g *gate) wake() {
	if g.change != nil {
		g.change()
	}
}

// ServeHTTP serves what is behind the gate, or says that it is closed.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := g.behind.Load()
	if h == nil && g.await(w, r) {
		h = g.behind.Load()
	}
	if g.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	if h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	g.refuse(w, r)
}

// await waits for a change of the gate, for as long as a start usually takes.
// What asks how the process is, is answered at once.
func (g *gate) await(w http.ResponseWriter, r *http.Request) bool {
	left := time.Until(g.until)
	switch r.URL.Path {
	case "/version", "/health", "/metrics":
		return false
	}
	if left <= 0 || g.leaving.Load() {
		return false
	}
	defer g.held.Add(-1)
	if g.held.Add(1) > heldMax {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-g.changed:
	case <-timer.C:
		return false
	case <-r.Context().Done():
		return false
	}
	if r.ContentLength != 0 { // its time went by while it waited
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.forBody)) // fails if the client has left
	}
	return true
}

// refuse answers what a closed gate can.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/metrics" && g.early != nil {
		g.early.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/version" {
		_, _ = w.Write(middleware.VersionJSON(etcdserver.APIVersion, "")) // fails if the client has left
		return
	}
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	answer := map[string]string{"message": "the member is starting: it reads its log, or looks for its cluster"}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		return // the client is gone
	}
}
