package ports

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver"
	"canopy/internal/middleware"
)

// Gate is the handler of a port. It is closed while the member starts: it reads
// its log, or asks its cluster. Until it opens, requests wait for as long as a
// start usually takes, so that a script can write as soon as the port is bound.
// If the start takes longer, they are refused (F32).
type Gate struct {
	behind  atomic.Pointer[http.Handler]
	leaving atomic.Bool

	// hold sets what follows, before the gate is used. Otherwise no request waits.
	until   time.Time     // when requests stop to wait
	forBody time.Duration // time for the body of a request that has waited
	changed chan struct{} // closed when the gate opens, or the process begins to stop
	change  func()        // closes changed, once
	held    atomic.Int64  // requests that wait; at most heldMax
	early   http.Handler  // of /metrics, until the gate opens; nil: none
}

// heldMax bounds the requests that wait, since each has a connection and a goroutine.
const heldMax = 1024

// hold lets requests wait for the gate to open, until grace is over.
func (g *Gate) hold(grace, forBody time.Duration) {
	g.until, g.forBody = time.Now().Add(grace), forBody
	g.changed = make(chan struct{})
	g.change = sync.OnceFunc(func() { close(g.changed) })
}

// Open passes requests to a handler from now on.
func (g *Gate) Open(h http.Handler) {
	g.behind.Store(&h)
	g.wake()
}

// leave adds "Connection: close" to all answers from now on, so that clients go
// elsewhere before the port is closed. A request on a connection that is being
// closed is lost, and its client cannot know whether it was executed.
func (g *Gate) leave() {
	g.leaving.Store(true)
	g.wake()
}

// wake lets requests that wait go on.
func (g *Gate) wake() {
	if g.change != nil {
		g.change()
	}
}

// ServeHTTP calls the handler, or answers that the gate is closed.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

// await waits for a change of the gate, and reports whether there was one.
// Requests for the health of the process do not wait.
func (g *Gate) await(w http.ResponseWriter, r *http.Request) bool {
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
	if r.ContentLength != 0 { // the time for the body has passed during the wait
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.forBody)) // fails if the client has left
	}
	return true
}

const starting = "the member is starting: it reads its log, or looks for its cluster"

// refuse answers a request at a closed gate.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/metrics" && g.early != nil {
		g.early.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/version" {
		_, _ = w.Write(middleware.VersionJSON(etcdserver.APIVersion, "")) // fails if the client has left
		return
	}
	answer := `{"message":"` + starting + `"}`
	if r.URL.Path == "/health" { // in the form of a member that serves
		answer = `{"health": "false", "reason": "` + starting + `"}`
	}
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, answer+"\n") // as above
}
