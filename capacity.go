package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"canopy/config"
	"canopy/etcdserver/metrics"
	"canopy/internal/httpserver"
)

// A capacity is how many connections of each kind there may be, so that all of
// them, the connections to and from members, and the files of log and snapshots
// fit the limit of file descriptors (F36).
type capacity struct {
	clients   int // over all client listeners
	perClient int // of them, from one address
	urgent    int // beyond those, see serveUrgent
	metrics   int // on the metrics listeners
	peers     int // on the peer port, before a member has shaken hands
}

// The shares of a process that may have few descriptors; ownShare is for files,
// listeners and members.
const (
	urgentShare  = 16
	metricsShare = 8
	peersShare   = 32
	ownShare     = 78

	manyFiles = 8 << 10 // descriptors, with which there is room for
	peersMany = 256
)

// One client leaves this part of the connections to the others.
const othersShare = 64

// capacityOf shares out descriptors, if a client connection takes so many of
// them; perClient is what is configured, 0 for the default.
func capacityOf(limit, descriptors uint64, perClient int) capacity {
	c := capacity{clients: 1 << 20, urgent: urgentShare, metrics: metricsShare, peers: peersShare}
	if limit == 0 || limit >= manyFiles { // 0: it is not known
		c.peers = peersMany
	}
	if limit != 0 {
		taken := uint64(ownShare + c.peers + c.urgent + c.metrics)
		c.clients = int(min(uint64(c.clients), max(limit, taken+1)-taken) / descriptors)
	}
	c.clients = max(c.clients, 1)
	if c.perClient = perClient; perClient == 0 {
		c.perClient = max(c.clients-max(c.clients/othersShare, 1), 1)
	}
	return c
}

// handshakeTimeout is how long a connection to the peer port may take to say
// what it wants.
const handshakeTimeout = 2 * time.Second

// handshakeBytes is how long the header of a request may be where its memory is
// not counted.
const handshakeBytes = 4 << 10

// provisionalPeers is the pool of the peer port, for connections that have not
// identified themselves. A member leaves it after the handshake.
func provisionalPeers(c capacity, h config.HTTP, set *metrics.Set) *httpserver.Pool {
	return httpserver.NewPool(httpserver.PoolOptions{Most: c.peers, PerClient: h.MaxPerClient, Timeout: handshakeTimeout,
		Cut: func() { set.Refused("peer connection") }})
}

// spare is a pool for connections beyond the budget, or apart from it: clients
// cannot take its slots by opening many connections.
func spare(most int, set *metrics.Set) *httpserver.Pool {
	return httpserver.NewPool(httpserver.PoolOptions{Most: most, Timeout: handshakeTimeout, Cut: func() { set.Refused("spare connection") }})
}

// limited gives the options of a server whose connections are in a pool.
func limited(l httpserver.Options, p *httpserver.Pool) httpserver.Options {
	l.ConnState, l.ConnContext = p.ConnState, httpserver.PoolContext
	l.HeaderTimeout = min(l.HeaderTimeout, handshakeTimeout)
	l.HeaderBytes = min(l.HeaderBytes, handshakeBytes)
	l.HTTP2Disabled = true
	return l
}

// serveUrgent answers, on connections beyond the budget, what operators and
// their tools need most at that time. It refuses everything else.
func serveUrgent(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if isUrgent(r.URL.Path) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		text := map[string]string{"message": "too many connections are open, see --max-connections-per-client and the limit of file descriptors"}
		if err := json.NewEncoder(w).Encode(text); err != nil {
			return // the client is gone
		}
	})
}

// isUrgent tells what is served when there is no room: whether the member is
// well, and who the members are.
func isUrgent(path string) bool {
	for _, each := range []string{"/health", "/metrics", "/version", "/v2/members", "/v2/stats", "/debug/vars", "/config/local/log"} {
		if path == each || strings.HasPrefix(path, each+"/") {
			return true
		}
	}
	return false
}
