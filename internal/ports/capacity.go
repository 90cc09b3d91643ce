package ports

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"canopy/config"
	"canopy/etcdserver/metrics"
	"canopy/internal/httpserver"
)

// Capacity is how many connections of each kind there may be, so that all of
// them, the connections between members, and the files of log and snapshots fit
// the limit of file descriptors (F36).
type Capacity struct {
	Clients   int // on all client ports together
	PerClient int // of them, from one address
	urgent    int // on the client ports, beyond Clients; see serveUrgent
	metrics   int // on the metrics ports
	peers     int // on the peer port, before a member has shaken hands
}

// The shares of a process that may have few descriptors. ownShare is for files,
// listeners and members.
const (
	urgentShare  = 16
	metricsShare = 8
	peersShare   = 32
	ownShare     = 78

	manyFiles = 8 << 10 // with so many descriptors
	peersMany = 256     // this is the share of peers
)

// One client leaves one connection in othersShare to the others.
const othersShare = 64

// CapacityOf divides the descriptors of the process, of which there are limit,
// or 0 if that is unknown. A client connection takes as many as descriptors says.
// perClient is what is configured, 0 for the default.
func CapacityOf(limit, descriptors uint64, perClient int) Capacity {
	c := Capacity{Clients: 1 << 20, urgent: urgentShare, metrics: metricsShare, peers: peersShare}
	if limit == 0 || limit >= manyFiles {
		c.peers = peersMany
	}
	if limit != 0 {
		taken := uint64(ownShare + c.peers + c.urgent + c.metrics)
		c.Clients = int(min(uint64(c.Clients), max(limit, taken+1)-taken) / descriptors)
	}
	c.Clients = max(c.Clients, 1)
	if c.PerClient = perClient; perClient == 0 {
		c.PerClient = max(c.Clients-max(c.Clients/othersShare, 1), 1)
	}
	return c
}

// handshakeTimeout is how long a connection of a pool may take for its first
// request. With TLS it may take longer: the handshake has a time-out of its own,
// and costs processor time that a busy machine does not have at once.
const (
	handshakeTimeout = 2 * time.Second
	secureTimeout    = 12 * time.Second
)

// poolTimeout is the time-out of a pool for connections of some listeners.
func poolTimeout(on []socket) time.Duration {
	if slices.ContainsFunc(on, func(s socket) bool { return s.https }) {
		return secureTimeout
	}
	return handshakeTimeout
}

// handshakeBytes is the longest header of a request whose memory is not counted.
const handshakeBytes = 4 << 10

// provisionalPeers is the pool of the peer port, for connections that have not
// identified themselves. A member leaves it after the handshake.
func provisionalPeers(on []socket, c Capacity, h config.HTTP, set *metrics.HTTP) *httpserver.Pool {
	return httpserver.NewPool(httpserver.PoolOptions{Most: c.peers, PerClient: h.MaxPerClient, Timeout: poolTimeout(on),
		Cut: func() { set.Refused("peer connection") }})
}

// sparePool is for connections beyond the budget, or apart from it: clients
// cannot take its slots by opening many connections.
func sparePool(on []socket, most int, set *metrics.HTTP) *httpserver.Pool {
	return httpserver.NewPool(httpserver.PoolOptions{Most: most, Timeout: poolTimeout(on), Cut: func() { set.Refused("spare connection") }})
}

// limited gives the options of the server for the connections of a pool.
func limited(l httpserver.Options, p *httpserver.Pool) httpserver.Options {
	l.ConnState, l.ConnContext = p.ConnState, httpserver.PoolContext
	l.HeaderTimeout = min(l.HeaderTimeout, handshakeTimeout)
	l.HeaderBytes = min(l.HeaderBytes, handshakeBytes)
	l.HTTP2Disabled = true
	return l
}

// serveUrgent serves connections beyond the budget of clients: it answers what
// operators need then, and refuses everything else.
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

// isUrgent reports whether a path shows the health of the member, or the list of
// members.
func isUrgent(path string) bool {
	for _, each := range []string{"/health", "/metrics", "/version", "/v2/members", "/v2/stats", "/debug/vars", "/config/local/log"} {
		if path == each || strings.HasPrefix(path, each+"/") {
			return true
		}
	}
	return false
}
