// Package proxy forwards requests to a cluster. It holds no data and has no vote: it listens where clients of its host expect
// a member. Package upstream knows the members, and which of them answer.
//
//	requests → ServeHTTP → own paths
//	                    ↘ request → send ── endpoint ── endpoint …   one after the other, until one answers
//	                                  ↘ answer → relay → client      small ones at once, others as they come
//	                                           ↘ watch → client      flushed at once, continued at another member if it breaks
//	                                                ↘ stream ← feed  once it waits: several equal watches share one
//
// The main rule is that nothing is written twice. A request that changes something goes to a second endpoint only if the first
// one received no byte of it, or said that it does not serve (P23). All other requests are repeated before the client sees a
// failure.
//
// Towards members the proxy writes requests, and reads the bodies of watches, itself (request.go, chunks.go, upstream.Conn).
// It does so for two reasons. http.Transport does not tell whether any byte of a failed request was sent, which the main rule
// needs, and repeats some requests by itself. And it needs two goroutines and two buffers a connection; here the goroutine of
// the request writes and reads, and a watch that waits has neither a buffer nor a goroutine at its connection. Towards clients
// the proxy uses net/http.
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"canopy/internal/memory"
	"canopy/internal/middleware"
	"canopy/proxy/upstream"
)

// Options are the settings of a proxy. A zero field means the default of flags.md 3.3, unless the field is required.
type Options struct {
	upstream.Options // of the cluster behind the proxy; New sets ID and Probed

	Readonly     bool           // only reads are forwarded (P35)
	ReadTimeout  time.Duration  // for one read from a member, which cuts watches; default 0: none
	BodyTimeout  time.Duration  // for a client to send a body over 64 KiB; default 60 s
	Memory       *memory.Budget // for requests, answers and watches; default: 256 MiB
	StartupGrace time.Duration  // after New, while requests wait for an endpoint (startup.go); default 0: they do not

	Origins   []string                              // web origins whose pages may read and write; "*": all; empty: members decide (S44)
	AllowHost func(host string, loopback bool) bool // which Host headers are served; nil: all

	Refused   func(reason string)     // called for each request that a guard or a time-out refuses: host, origin, slow_body; nil: none
	Registry  *prometheus.Registry    // of what /metrics shows; default: a new one
	AccessLog func(middleware.Access) // called after each answer; nil: none

	longWait time.Duration // after which a watch for one event counts as one that waits for long
	lag      int64         // bytes that a client may lag behind others that share its watch
}

// The defaults of Options, and constants that cannot be set.
const (
	defaultBodyTimeout = 60 * time.Second
	defaultMemory      = 256 << 20

	// clientTimeout is for a client to read 64 KiB of an answer, or an event of a watch.
	clientTimeout = 60 * time.Second
	// scrapesMax is how many answers of /metrics are made at once; further requests get 503.
	scrapesMax = 16
)

func (o Options) withDefaults() Options {
	or := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	or(&o.BodyTimeout, defaultBodyTimeout)
	or(&o.longWait, defaultLongWait)
	if o.Memory == nil {
		o.Memory = memory.New(defaultMemory, nil)
	}
	if o.lag == 0 {
		o.lag = defaultLag
	}
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	return o
}

// A Proxy serves any number of requests, while Run runs.
type Proxy struct {
	o       Options
	id      string // in the header that detects loops
	cluster *upstream.Cluster
	scrapes http.Handler // of /metrics
	guard   middleware.Guard
	metrics *metrics
	startup startup
	buffers sync.Pool // *[]byte, of bufferBytes
	heads   sync.Pool // *[]byte, for the heads of requests

	watches watchSet
	feeds   feedSet
}

// bufferBytes is the size of reads and writes, and of bodies and answers that are kept completely.
const bufferBytes = 64 << 10

// New makes a proxy, and reads the list of peer URLs if there is one. It starts nothing. If the list cannot be read, the
// error is an *upstream.ClusterFileError.
func New(o Options) (*Proxy, error) {
	o = o.withDefaults()
	p := &Proxy{o: o, id: newID(), metrics: newMetrics(o.Registry)}
	o.ID, o.Probed = p.id, p.watches.returnMemory
	cluster, err := upstream.New(o.Options)
	if err != nil {
		return nil, err
	}
	p.cluster = cluster
	p.startup.until = time.Now().Add(o.StartupGrace)
	p.scrapes = promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax})
	p.guard.Origins, p.guard.AllowHost, p.guard.Refuse = o.Origins, o.AllowHost, p.refuseForeign
	p.guard.Delegate = true // members decide if no origins are set
	p.buffers.New = func() any { return new(make([]byte, bufferBytes)) }
	p.heads.New = func() any { return new(make([]byte, 0, headBytes)) }
	p.watches.init()
	p.feeds.memory = o.Memory
	return p, nil
}

// newID gives a random ID, so that two proxies never mistake each other's requests for their own.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// KnowsCluster tells whether there was a list of peer URLs, which replaces the flags (P5).
func (p *Proxy) KnowsCluster() bool { return p.cluster.Known() }

// Run keeps the endpoints up to date until ctx ends, which is not an error. It fails if there is no list and Options.Peers
// fails.
func (p *Proxy) Run(ctx context.Context) error { return p.cluster.Run(ctx) }

// Close ends every watch by cutting its connection, so that clients see that it is incomplete (P43). It waits until all
// have ended or ctx ends. It does not affect other requests.
func (p *Proxy) Close(ctx context.Context) error { return p.watches.close(ctx) }

func (p *Proxy) buffer() *[]byte   { return p.buffers.Get().(*[]byte) }
func (p *Proxy) release(b *[]byte) { p.buffers.Put(b) }
