// Package api is the client API of a member: it turns HTTP requests into commands and reads, and their results into the
// status codes and JSON of the etcd v2 API.
//
// A request passes three stages. The guard checks what concerns every path: OPTIONS, CORS, the Host and Origin headers
// (package middleware). The keys handler serves /v2/keys (keys.go, watch.go): a comparison of the prefix finds it, since
// nearly all requests go there. A router finds all other handlers (routes.go): those of packages cluster and accounts. Package
// answer writes the answers.
//
//	request → guard → /v2/keys → form.Params   → Command → Member.Do   → event   → answer
//	                           ↘                            Member.Read → listing → answer
//	                            ↘                           Member.Watch → watcher → stream
//	                → router → stats, members, version, health, metrics, debug
//
// Behind it is a Member, an interface that package etcdserver implements. This package touches no raft message and no
// file, and nothing below it knows of HTTP or JSON.
//
// A watch over HTTP/1.1 hijacks its connection, so that a watch that waits for months takes a few KiB instead of
// the buffers and the stack of a request. http.Server.Shutdown does not know such connections; Handler.Close ends them.
package api

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"canopy/etcdserver/api/accounts"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/api/cluster"
	"canopy/etcdserver/login"
	"canopy/etcdserver/metrics"
	"canopy/internal/audit"
	"canopy/internal/memory"
	"canopy/internal/middleware"
	"canopy/store"
)

// Options are the settings of a Handler. The zero value serves a member without others, with the documented limits.
type Options struct {
	Version string // our own version, shown as X-Canopy-Version by /version; "" leaves the header out

	Origins   []string                              // see middleware.Guard
	AllowHost func(host string, loopback bool) bool // see middleware.Guard

	CertLogin      bool           // a client certificate stands for the user of its common name
	BcryptCost     int            // of passwords that are set; default login.CostDefault
	Memory         *memory.Budget // for what requests and answers take; default: no bound
	FormBytesMax   int64          // largest form body, bytes; default 10 MiB (K14)
	BodyTimeout    time.Duration  // for receiving a body over 64 KiB or of unknown length; default 60 s
	ValueBytesMax  int64          // largest value, bytes; default 0: only FormBytesMax counts
	KeyDepthMax    int            // components of a key that is written or watched; default, and at most, store.MaxDepth
	KeyBytesMax    int            // bytes of such a key; default 0: no limit
	WatchesMax     int            // watches open at once; default 100,000
	WriteTimeout   time.Duration  // for a client to take 64 KiB of a large answer, or an event of a watch; default 60 s
	HealthTimeout  time.Duration  // after which /health says false; default 1 s, meant to be an election time-out
	GzipWritersMax int            // listings that are compressed at once, 0.3 MiB each; default 16; others are sent uncompressed
	GzipDisabled   bool
	PprofEnabled   bool                    // serve /debug/pprof (S36)
	CommandLine    []string                // shown by /debug/vars
	FileLimit      uint64                  // file descriptors this process may have, shown by /debug/vars
	SetLogLevel    func(string) error      // for /config/local/log, with the name of a logrus level; default: nothing is set
	AccessLog      func(middleware.Access) // called after each answer, watches included; default: none
	Audit          *audit.Log              // of changes and refusals; default: none
	Metrics        *metrics.Set            // counters of this package; default: counted, but not shown
	Gatherer       prometheus.Gatherer     // what /metrics shows; default: nothing
}

// The defaults of Options.
const (
	defaultFormBytesMax   = 10 << 20
	defaultBodyTimeout    = 60 * time.Second
	defaultWatchesMax     = 100_000
	defaultWriteTimeout   = 60 * time.Second
	defaultGzipWritersMax = 16
)

func (o Options) withDefaults() Options {
	orInt64 := func(n *int64, d int64) {
		if *n <= 0 {
			*n = d
		}
	}
	orDuration := func(t *time.Duration, d time.Duration) {
		if *t <= 0 {
			*t = d
		}
	}
	orInt64(&o.FormBytesMax, defaultFormBytesMax)
	orDuration(&o.BodyTimeout, defaultBodyTimeout)
	orDuration(&o.WriteTimeout, defaultWriteTimeout)
	orDuration(&o.HealthTimeout, cluster.HealthTimeoutDefault)
	if o.Memory == nil {
		o.Memory = memory.New(math.MaxInt64, nil)
	}
	if o.WatchesMax <= 0 {
		o.WatchesMax = defaultWatchesMax
	}
	if o.KeyDepthMax <= 0 || o.KeyDepthMax > store.MaxDepth {
		o.KeyDepthMax = store.MaxDepth
	}
	if o.GzipWritersMax <= 0 {
		o.GzipWritersMax = defaultGzipWritersMax
	}
	if o.SetLogLevel == nil {
		o.SetLogLevel = func(string) error { return nil }
	}
	if o.BcryptCost == 0 {
		o.BcryptCost = login.CostDefault
	}
	if o.Metrics == nil {
		o.Metrics = metrics.New(prometheus.NewRegistry())
	}
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	return o
}

// A Handler serves the client API of one member. It is used by any number of goroutines.
type Handler struct {
	member  Member
	o       Options
	router  http.Handler
	answers *answer.Writer
	cluster *cluster.Handler

	finder   *accounts.Finder
	accounts *accounts.Handler

	guard middleware.Guard

	watches watchSet
	gzips   chan *gzipWriter // idle compressors; nil: one that is not made yet
	frames  frameCache

	watching   context.Context // ends every watch
	endWatches context.CancelFunc
	never      context.Context // has ended; waiting with it returns at once
}

// New makes the handler of a member.
func New(member Member, o Options) *Handler {
	h := &Handler{member: member, o: o.withDefaults()}
	h.guard.Origins, h.guard.AllowHost, h.guard.Refuse = o.Origins, o.AllowHost, h.refuse
	h.answers = answer.New(answer.Options{Cluster: member.ClusterID().String(), Position: member.Position, Memory: h.o.Memory, Timeout: h.o.WriteTimeout})
	h.cluster = &cluster.Handler{
		Member: member, Answers: h.answers, Metrics: h.o.Metrics, Program: h.o.Version, HealthTimeout: h.o.HealthTimeout,
		CommandLine: h.o.CommandLine, FileLimit: h.o.FileLimit, SetLogLevel: h.o.SetLogLevel, Admit: h.admitRoot, SkipBody: h.skipBody,
	}
	checker := login.New(login.Options{Cost: h.o.BcryptCost, Waits: h.o.Metrics.Logins.Waits, Checked: h.o.Metrics.Logins.Checked})
	h.finder = &accounts.Finder{Login: checker, Count: h.o.Metrics.Logins, CertLogin: h.o.CertLogin}
	h.accounts = &accounts.Handler{Member: member, Finder: h.finder, Login: checker, Cluster: member.ClusterID().String()}
	h.router = newRouter(h)
	h.gzips = make(chan *gzipWriter, h.o.GzipWritersMax) // one for each compressor that may exist
	for range h.o.GzipWritersMax {
		h.gzips <- nil
	}
	h.watches.max = h.o.WatchesMax
	h.watching, h.endWatches = context.WithCancel(context.Background())
	never, end := context.WithCancel(context.Background())
	end()
	h.never = never
	return h
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.o.AccessLog != nil {
		middleware.Log(w, r, h.serve, h.o.AccessLog)
		return
	}
	h.serve(w, r)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	if h.o.Audit != nil {
		h.o.Audit.Serve(w, r, h.route)
		return
	}
	h.route(w, r)
}

func (h *Handler) route(w http.ResponseWriter, r *http.Request) {
	if !h.guard.Admit(w, r) {
		return
	}
	if path, ok := strings.CutPrefix(r.URL.Path, keysPrefix); ok && (path == "" || path[0] == '/') {
		h.serveKeys(w, r, path)
		return
	}
	h.router.ServeHTTP(w, r)
}

// refuse answers a request that the guard refuses.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, reason, message string) {
	h.o.Metrics.Refused(reason)
	if e := audit.Of(r.Context()); e != nil {
		e.Outcome = audit.Refused
	}
	h.answers.Message(w, r, status, message)
}

// Close ends every watch with a complete answer (K113), and waits until they have ended or ctx ends. It refuses new
// watches, and does not affect other requests.
func (h *Handler) Close(ctx context.Context) error {
	gone := h.watches.close()
	h.endWatches()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
