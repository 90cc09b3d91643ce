// Package accounts serves /v2/auth: users, roles, tokens, and whether they matter. It also finds out who makes a request.
//
//	Authorization ──▶ Finder ──▶ auth.Requester
//	/v2/auth/…    ──▶ Handler ──▶ auth.Operation ──▶ Member.ChangeAuth ──▶ answer
//
// Every call is linearizable (A63): a read waits for what was acknowledged anywhere, and a change is answered when it is
// applied here.
package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"canopy/etcdserver"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/etcdserver/metrics"
	"canopy/store"
)

// Member is what this package needs of a member.
type Member interface {
	// Auth is users, roles and tokens as of what reads show.
	Auth() *auth.State
	// ChangeAuth carries an operation through the log. Its errors are *auth.Error, *auth.DeniedError and those of etcdserver.
	ChangeAuth(ctx context.Context, from etcdserver.Origin, op auth.Operation) (auth.Result, error)
	// Read waits, if linearizable, until all that was acknowledged before the call is applied.
	Read(ctx context.Context, linearizable bool) (*store.View, error)
	Now() store.Time // log time
}

// Handler serves the paths below /v2/auth.
type Handler struct {
	Member  Member
	Finder  *Finder
	Login   *login.Checker
	Cluster string // for the header with the id of the cluster
}

// Prefix is of all paths here.
const Prefix = "/v2/auth"

// bodyMax bounds the body of a request, in bytes.
const bodyMax = 1 << 20

const (
	allowAll  = "GET,PUT,DELETE"
	allowRead = "GET"
)

// ServeHTTP finds what a path is about (A10: path, method, right, body).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Handler: h, w: w, r: r}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix+"/"), "/")
	hasSlash := strings.HasPrefix(r.URL.Path, Prefix+"/"+kind+"/")
	name := strings.TrimSuffix(rest, "/")
	switch {
	case r.URL.Path == Prefix+"/enable":
		c.byMethod(allowAll, map[string]func(){"GET": c.showEnabled, "PUT": c.enable, "DELETE": c.disable})
	case r.URL.Path == Prefix+"/explain":
		c.byMethod(allowRead, map[string]func(){"GET": c.explain})
	case kind != "users" && kind != "roles" && kind != "tokens" || !strings.HasPrefix(r.URL.Path, Prefix+"/"):
		http.NotFound(w, r)
	case strings.Contains(name, "/"):
		c.fail(http.StatusBadRequest, "Invalid path")
	case kind == "tokens":
		c.serveTokens(name)
	case name == "" && (rest == "" || hasSlash):
		c.byMethod(allowRead, map[string]func(){"GET": map[string]func(){"users": c.listUsers, "roles": c.listRoles}[kind]})
	case kind == "users":
		c.byMethod(allowAll, map[string]func(){"GET": func() { c.showUser(name) }, "PUT": func() { c.putUser(name) }, "DELETE": func() { c.deleteUser(name) }})
	default:
		c.byMethod(allowAll, map[string]func(){"GET": func() { c.showRole(name) }, "PUT": func() { c.putRole(name) }, "DELETE": func() { c.deleteRole(name) }})
	}
}

// call is one request.
type call struct {
	*Handler
	w http.ResponseWriter
	r *http.Request
}

func (c *call) byMethod(allow string, serve map[string]func()) {
	if f := serve[c.r.Method]; f != nil {
		f()
		return
	}
	c.w.Header().Set("Allow", allow)
	http.Error(c.w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

// read is the present state, as of a moment after the call; nil: it was answered.
func (c *call) read() *auth.State {
	if _, err := c.Member.Read(c.r.Context(), true); err != nil {
		c.failWith(err)
		return nil
	}
	return c.Member.Auth()
}

// asRoot finds who asks, who must be root (A10); false: it was answered.
func (c *call) asRoot() (*auth.State, etcdserver.Origin, bool) {
	s, from, ok := c.asAnybody()
	if ok && !s.Rights(from.Requester, int64(c.Member.Now())).Root() {
		c.deny()
		return nil, from, false
	}
	if ok {
		c.w.Header().Set("X-Etcd-Cluster-Id", c.Cluster)
	}
	return s, from, ok
}

// asAnybody finds who asks. While checks are off nobody is asked for credentials (A8).
func (c *call) asAnybody() (*auth.State, etcdserver.Origin, bool) {
	s := c.read()
	if s == nil {
		return nil, etcdserver.Origin{}, false
	}
	from := etcdserver.Origin{Revision: s.Revision()}
	if !s.Enabled() {
		return s, from, true
	}
	who, err := c.Finder.Find(c.r, s, int64(c.Member.Now()))
	if err != nil {
		c.failWith(err)
		return nil, from, false
	}
	from.Requester = who
	return s, from, true
}

// change carries an operation through the log; false: it failed, and was answered.
func (c *call) change(from etcdserver.Origin, op auth.Operation) (auth.Result, bool) {
	result, err := c.Member.ChangeAuth(context.WithoutCancel(c.r.Context()), from, op) // it continues if its client leaves
	if err != nil {
		c.failWith(err)
		return auth.Result{}, false
	}
	return result, true
}

// decode reads the body into v (A24); false: it was answered.
func (c *call) decode(v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, bodyMax)).Decode(v); err != nil {
		c.fail(http.StatusBadRequest, "Invalid JSON in request body.")
		return false
	}
	return true
}

// failWith answers an error. Those of the member, such as a time-out, look alike (A66).
func (c *call) failWith(err error) {
	var refused *auth.Error
	switch {
	case errors.As(err, &refused):
		c.fail(map[auth.Kind]int{
			auth.Invalid: http.StatusBadRequest, auth.Missing: http.StatusNotFound,
			auth.Conflict: http.StatusConflict, auth.Forbidden: http.StatusForbidden,
		}[refused.Kind], refused.Message)
	case errors.Is(err, ErrCredentials):
		c.challenge()
	case errors.As(err, new(*auth.DeniedError)):
		c.deny()
	case errors.Is(err, login.ErrTooLong):
		c.fail(http.StatusBadRequest, err.Error())
	case errors.Is(err, login.ErrBusy):
		c.w.Header().Set("Retry-After", "1")
		c.fail(http.StatusServiceUnavailable, err.Error())
	default:
		c.fail(http.StatusInternalServerError, "Internal Server Error")
	}
}

// deny is the answer to whoever may not do this (A12, A13).
func (c *call) deny() {
	c.Finder.Count.Refused(metrics.NoRight)
	c.challenge()
}

// challenge asks for other credentials.
func (c *call) challenge() {
	c.w.Header().Del("X-Etcd-Cluster-Id")
	Challenge(c.w)
	c.fail(http.StatusUnauthorized, "Insufficient credentials")
}

// Challenge adds the header that HTTP demands of a 401 (A13).
func Challenge(w http.ResponseWriter) { w.Header().Set("WWW-Authenticate", `Basic realm="etcd"`) }

// fail answers with a message, without a newline (A14).
func (c *call) fail(status int, message string) {
	b, err := json.Marshal(struct {
		Message string `json:"message"`
	}{message})
	if err != nil {
		b = nil // a text can be encoded
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // fails if the client has left
}

// answer answers with JSON and a newline, or with nothing at all.
func (c *call) answer(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	if v == nil {
		c.w.Header().Set("Content-Length", "0")
		c.w.WriteHeader(status)
		return
	}
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(v) // as in fail
}

func (c *call) showEnabled() {
	s := c.read()
	if s == nil {
		return
	}
	c.w.Header().Set("X-Etcd-Cluster-Id", c.Cluster)
	c.answer(http.StatusOK, struct {
		Enabled bool `json:"enabled"`
	}{s.Enabled()})
}

func (c *call) enable()  { c.turn(auth.Enable{}) }
func (c *call) disable() { c.turn(auth.Disable{}) }

func (c *call) turn(op auth.Operation) {
	_, from, ok := c.asRoot()
	if !ok {
		return
	}
	if _, ok := c.change(from, op); ok {
		c.answer(http.StatusOK, nil)
	}
}
