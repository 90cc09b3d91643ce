package middleware

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// A Guard says who may ask. It protects a server, above all one on a loopback address, from requests that foreign web
// pages make a browser send (R73). Only browsers send an Origin header, and a request without one is never refused
// because of it. A Guard is used by any number of goroutines.
type Guard struct {
	// Origins are those of pages that may read answers and write, compared exactly; "*" is all of them (S43).
	Origins []string

	// Delegate lets every origin pass if there are no Origins: the server that gets the forwarded request decides.
	Delegate bool

	// AllowHost decides whether a Host header is served; loopback tells whether the request came to a loopback address.
	// What is allowed on a loopback address must be allowed everywhere. Default: every Host is served.
	AllowHost func(host string, loopback bool) bool

	// Refuse answers a request that is refused; reason is "host" or "origin". Required.
	Refuse func(w http.ResponseWriter, r *http.Request, status int, reason, message string)

	lastHost atomic.Pointer[string] // the Host that was allowed last: it is the same from one request to the next
}

const (
	corsMethods = "POST, GET, OPTIONS, PUT, DELETE, HEAD"
	corsHeaders = "accept, content-type, authorization"
	corsExpose  = "X-Etcd-Index, X-Raft-Index, X-Raft-Term, X-Etcd-Cluster-Id"
)

// Admit makes all checks. False means that the request has been answered: it was refused, or it was OPTIONS.
func (g *Guard) Admit(w http.ResponseWriter, r *http.Request) bool {
	return g.AdmitHost(w, r) && g.AdmitOrigin(w, r) && !AnswerOptions(w, r)
}

// AdmitHost checks the Host header. False means that the request has been refused.
func (g *Guard) AdmitHost(w http.ResponseWriter, r *http.Request) bool {
	if g.AllowHost == nil || g.allowsHost(r) {
		return true
	}
	g.Refuse(w, r, http.StatusMisdirectedRequest, "host", "the Host "+r.Host+" is not served here; see --host-whitelist")
	return false
}

// AdmitOrigin sets the headers of S44 and S45, and refuses writes from pages of other origins. False means that the
// request has been refused.
func (g *Guard) AdmitOrigin(w http.ResponseWriter, r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(g.Origins) == 0 && (len(origins) == 0 || g.Delegate) {
		return true
	}
	origin, header := strings.Join(origins, ","), w.Header()
	allowed := g.allowsOrigin(origin)
	if allowed != "" {
		header.Set("Access-Control-Allow-Methods", corsMethods)
		header.Set("Access-Control-Allow-Origin", allowed)
		header.Set("Access-Control-Allow-Headers", corsHeaders)
		header.Set("Access-Control-Expose-Headers", corsExpose)
	}
	if len(g.Origins) > 0 && allowed != "*" {
		header.Add("Vary", "Origin")
	}
	if origin == "" || allowed != "" || isSafe(r.Method) || isSameOrigin(origin, r.Host) {
		return true
	}
	g.Refuse(w, r, http.StatusForbidden, "origin", "writes from the origin "+origin+" are not allowed; see --cors")
	return false
}

// AnswerOptions answers OPTIONS, which is the same on every path (K7, S47), and tells whether it was that.
func AnswerOptions(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	w.WriteHeader(http.StatusOK)
	return true
}

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

// isSafe tells whether a method changes nothing here.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isSameOrigin tells whether a page of this origin came from this very server.
func isSameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (g *Guard) allowsHost(r *http.Request) bool {
	if last := g.lastHost.Load(); last != nil && *last == r.Host {
		return true
	}
	if g.AllowHost(r.Host, true) {
		host := strings.Clone(r.Host)
		g.lastHost.Store(&host)
		return true
	}
	return g.AllowHost(r.Host, cameToLoopback(r))
}

// cameToLoopback tells whether the connection ends at a loopback address of ours. If the address is not known, the
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
