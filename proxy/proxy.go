// Package proxy forwards requests to a cluster. It holds no data and has no vote: it listens where clients of its host expect
// a member, and knows the members and which of them answer.
//
//	requests → ServeHTTP → own paths
//	                    ↘ request → send ── endpoint ── endpoint …   one after the other, until one answers
//	                                  ↘ answer → relay → client      small ones at once, others as they come
//	                                           ↘ watch → client      flushed at once, continued at another member if it breaks
//	                                                ↘ stream ← feed  once it waits: several equal watches share one
//
//	Run → refresh: who the members are, from their peer ports, or else their client ports; kept in a file
//	    → probe:   which of them answer
//
// Endpoints are in a list, and a request goes to the first one that is available. So all clients of a proxy use one member,
// and read what they wrote (P15). One that fails is unavailable until a probe succeeds (P16, P17).
//
// The main rule is that nothing is written twice. A request that changes something goes to a second endpoint only if the first
// one received no byte of it, or said that it does not serve (P23). All other requests are repeated before the client sees a
// failure.
//
// The proxy writes and reads HTTP/1.1 towards members itself (request.go, conn.go, chunks.go), and uses net/http only to
// parse the head of an answer. http.Transport does not tell whether any byte of a failed request was sent, which the main
// rule needs, and repeats some requests by itself. It also needs two goroutines and two buffers a connection; here the
// goroutine of the request writes and reads, and a watch that waits has neither a buffer nor a goroutine at its connection.
package proxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"canopy/internal/disk"
	"canopy/internal/memory"
	"canopy/internal/middleware"
)

// Options are the settings of a proxy. A zero field means the default of flags.md 3.3, unless the field is required.
type Options struct {
	FS  disk.FS // required
	Dir string  // directory of the list of peer URLs, proxy/ in the data directory; required

	// Peers gives the first peer URLs, from flags or discovery. It may take long. It is called if there is no list, or if no
	// peer on the list has answered for a minute (P3, P5); required.
	Peers func(context.Context) ([]string, error)

	Readonly bool // only reads are forwarded (P35)

	FailureWait     time.Duration  // between probes, about as long as an endpoint stays unavailable; default 5 s
	RefreshInterval time.Duration  // between refreshes of the member list; default 30 s
	DialTimeout     time.Duration  // default 1 s; less than 0: none
	WriteTimeout    time.Duration  // for one write to a member; default 5 s; less than 0: none
	ReadTimeout     time.Duration  // for one read from a member, which cuts watches; default 0: none
	Election        time.Duration  // of the members; default 1 s. An answer must begin within 5 s + twice this (P18)
	BodyTimeout     time.Duration  // for a client to send a body over 64 KiB; default 60 s
	Memory          *memory.Budget // for requests, answers and watches; default: 256 MiB
	StartupGrace    time.Duration  // after New, while requests wait for an endpoint (startup.go); default 0: they do not
	TLS             *tls.Config    // towards members, on client and peer URLs (P27)

	Origins   []string                              // web origins whose pages may read and write; "*": all; empty: members decide (S44)
	AllowHost func(host string, loopback bool) bool // which Host headers are served; nil: all

	Refused   func(reason string)     // called for each request that a guard or a time-out refuses: host, origin, slow_body; nil: none
	Registry  *prometheus.Registry    // of what /metrics shows; default: a new one
	AccessLog func(middleware.Access) // called after each answer; nil: none
	Log       *logrus.Logger          // required

	began    time.Time           // see now
	isHere   func(net.Conn) bool // tells whether a connection ends on this host (P45)
	calm     time.Duration       // after which a watch for one event counts as one that waits for long
	lag      int64               // bytes that a client may lag behind others that share its watch
	patience time.Duration       // within which an answer must begin, derived from Election
	readers  *sync.Pool          // *bufio.Reader, of connections to members
}

// The defaults of Options, and constants that cannot be set.
const (
	defaultFailureWait     = 5 * time.Second
	defaultRefreshInterval = 30 * time.Second
	defaultDialTimeout     = time.Second
	defaultWriteTimeout    = 5 * time.Second
	defaultElection        = time.Second
	defaultBodyTimeout     = 60 * time.Second
	defaultMemory          = 256 << 20

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
	or(&o.FailureWait, defaultFailureWait)
	or(&o.RefreshInterval, defaultRefreshInterval)
	or(&o.DialTimeout, defaultDialTimeout)
	or(&o.WriteTimeout, defaultWriteTimeout)
	or(&o.Election, defaultElection)
	or(&o.BodyTimeout, defaultBodyTimeout)
	or(&o.calm, defaultCalm)
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
	if o.isHere == nil {
		o.isHere = isHere
	}
	o.began = time.Now()
	o.patience = 5*time.Second + 2*o.Election // longer than a member waits for its quorum (P18, K121)
	o.readers = &sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readerBytes) }}
	return o
}

// A Proxy serves any number of requests, while Run runs.
type Proxy struct {
	o       Options
	id      string // in the header that detects loops
	file    clusterFile
	known   *clusterNote // as read from the file at the start; nil: none
	list    endpointList
	scrapes http.Handler // of /metrics
	guard   middleware.Guard
	metrics *metrics
	startup startup
	buffers sync.Pool // *[]byte, of bufferBytes
	heads   sync.Pool // *[]byte, for the heads of requests

	watches    watchSet
	feeds      feedSet
	refreshNow chan struct{} // has room for one
	probeNow   chan struct{} // has room for one
}

// bufferBytes is the size of reads and writes, and of bodies and answers that are kept completely.
const bufferBytes = 64 << 10

// New makes a proxy, and reads the list of peer URLs if there is one. It starts nothing. If the list cannot be read, the
// error is a *ClusterFileError.
func New(o Options) (*Proxy, error) {
	o = o.withDefaults()
	p := &Proxy{o: o, id: newID(), file: newClusterFile(o.FS, o.Dir), metrics: newMetrics(o.Registry),
		refreshNow: make(chan struct{}, 1), probeNow: make(chan struct{}, 1)}
	known, err := p.file.read()
	if err != nil {
		return nil, err
	}
	p.known = known
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
func (p *Proxy) KnowsCluster() bool { return p.known != nil }

// Run keeps the endpoints up to date until ctx ends, which is not an error. It fails if there is no list and Options.Peers
// fails.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.list.close()
	first, err := p.firstNote(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { p.keepRefreshing(ctx, first); return nil })
	group.Go(func() error { p.keepProbing(ctx); return nil })
	return group.Wait()
}

// Close ends every watch by cutting its connection, so that clients see that it is incomplete (P43). It waits until all
// have ended or ctx ends. It does not affect other requests.
func (p *Proxy) Close(ctx context.Context) error { return p.watches.close(ctx) }

// wake makes a loop run at once, unless a run is pending.
func wake(loop chan<- struct{}) {
	select {
	case loop <- struct{}{}:
	default:
	}
}

func (p *Proxy) buffer() *[]byte   { return p.buffers.Get().(*[]byte) }
func (p *Proxy) release(b *[]byte) { p.buffers.Put(b) }
