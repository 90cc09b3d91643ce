package api

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// Guard says who may ask. It protects a member, above all one on a loopback address, from what foreign web pages make
// a browser send (R73). Requests without an Origin header, which are all that do not come from a browser, are never
// refused because of it.
type Guard struct {
	// Origins that scripts may read answers from and write with, compared exactly; "*" is all of them (S43).
	Origins []string

	// AllowHost decides whether a Host header is served; loopback tells whether the request came to a loopback address.
	// What is allowed on a loopback address has to be allowed everywhere. Default: every Host is served.
	AllowHost func(host string, loopback bool) bool
}

const (
	corsMethods = "POST, GET, OPTIONS, PUT, DELETE, HEAD"
	corsHeaders = "accept, content-type, authorization"
	corsExpose  = "X-Etcd-Index, X-Raft-Index, X-Raft-Term, X-Etcd-Cluster-Id"
)

// allowsOrigin gives the value of Access-Control-Allow-Origin, or "".
func (g *Guard) allowsOrigin(origin string) string {
	switch {
	case slices.Contains(g.Origins, "*"):
		return "*"
	case origin != "" && slices.Contains(g.Origins, origin):
		return origin
	}
	return ""
}

// admit answers what concerns no path in particular; false means that the request has been answered.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) bool {
	if h.o.Guard.AllowHost != nil && !h.knownHosts.allows(&h.o.Guard, r) {
		h.o.Metrics.Refused("host")
		h.writeMessage(w, r, http.StatusMisdirectedRequest, "the Host "+r.Host+" is not served here; see --host-whitelist")
		return false
	}
	origins := r.Header["Origin"]
	if len(h.o.Guard.Origins) > 0 || len(origins) > 0 {
		if !h.admitOrigin(w, r, strings.Join(origins, ",")) {
			return false
		}
	}
	if r.Method == http.MethodOptions { // K7, S47
		w.WriteHeader(http.StatusOK)
		return false
	}
	return true
}

// admitOrigin sets the headers of S44 and S45, and refuses writes from pages of other origins.
func (h *Handler) admitOrigin(w http.ResponseWriter, r *http.Request, origin string) bool {
	header := w.Header()
	allowed := h.o.Guard.allowsOrigin(origin)
	if allowed != "" {
		header.Set("Access-Control-Allow-Methods", corsMethods)
		header.Set("Access-Control-Allow-Origin", allowed)
		header.Set("Access-Control-Allow-Headers", corsHeaders)
		header.Set("Access-Control-Expose-Headers", corsExpose)
	}
	if len(h.o.Guard.Origins) > 0 && allowed != "*" {
		header.Add(headerVary, "Origin")
	}
	if origin == "" || allowed != "" || isSafe(r.Method) || isSameOrigin(origin, r.Host) {
		return true
	}
	h.o.Metrics.Refused("origin")
	h.writeMessage(w, r, http.StatusForbidden, "writes from the origin "+origin+" are not allowed; see --cors")
	return false
}

// isSafe tells whether a method changes nothing here.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isSameOrigin tells whether a page of this origin came from this very server.
func isSameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// knownHosts remembers the Host header that was allowed last, as it is the same from one request to the next.
type knownHosts struct{ last atomic.Pointer[string] }

func (k *knownHosts) allows(g *Guard, r *http.Request) bool {
	if last := k.last.Load(); last != nil && *last == r.Host {
		return true
	}
	if g.AllowHost(r.Host, true) {
		host := strings.Clone(r.Host)
		k.last.Store(&host)
		return true
	}
	return g.AllowHost(r.Host, cameToLoopback(r))
}

// cameToLoopback tells whether the connection ends at a loopback address of ours. Where the address is not known, the
// stricter answer is given.
func cameToLoopback(r *http.Request) bool {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case nil:
		return true
	default:
		return addr.(net.Addr).Network() != "tcp"
	}
}
