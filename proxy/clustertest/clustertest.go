// Package clustertest has servers that look like the members of a cluster to a proxy, for tests.
package clustertest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// Patience is how long a test waits for what has to happen.
const Patience = 2 * time.Minute

// Eventually waits until a condition holds, and fails the test after Patience.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", Patience, what)
		}
	}
}

// Log takes log lines while a test reads them.
type Log struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Logger gives a logger of all levels that writes to the log.
func (l *Log) Logger() *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(l)
	logger.SetLevel(logrus.DebugLevel)
	return logger
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String gives all lines.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TLS is the configuration of all servers while tests run over TLS; nil: they run without.
var TLS *tls.Config

func newServer(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	if TLS == nil {
		server.Start()
		return server
	}
	server.Listener = tls.NewListener(server.Listener, TLS)
	server.Start()
	server.URL = strings.Replace(server.URL, "http:", "https:", 1)
	return server
}

// A Member is a server whose client port is controlled by the test.
type Member struct {
	URL   string
	Close func()
}

// OK answers "ok".
func OK(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }

// Start gives members with these handlers, and a peer URL that names them all.
func Start(t testing.TB, handlers ...http.HandlerFunc) (peer string, members []*Member) {
	t.Helper()
	var urls []string
	for _, h := range handlers {
		server := newServer(Versioned(h))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
		members = append(members, &Member{server.URL, sync.OnceFunc(func() { server.CloseClientConnections(); server.Close() })})
	}
	return Peer(t, 0xc1, func() []string { return urls }).URL, members
}

// Versioned answers the probes of a proxy, and gives other requests to a handler.
func Versioned(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			return
		case "/version":
			io.WriteString(w, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`)
			return
		}
		h(w, r)
	}
}

// Peer is a peer port that names members with these client URLs.
func Peer(t testing.TB, cluster uint64, clientURLs func() []string) *httptest.Server {
	return PeerOf(t, cluster, nil, clientURLs)
}

// PeerOf is one of several peers; nil: itself alone.
func PeerOf(t testing.TB, cluster uint64, peers *[]string, clientURLs func() []string) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	server = newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		type remote struct {
			ID         uint64   `json:"id"`
			PeerURLs   []string `json:"peerURLs"`
			ClientURLs []string `json:"clientURLs"`
		}
		w.Header().Set("X-Etcd-Cluster-Id", fmt.Sprintf("%x", cluster))
		peerURLs := []string{server.URL}
		if peers != nil {
			peerURLs = *peers
		}
		json.NewEncoder(w).Encode([]remote{{1, peerURLs, clientURLs()}})
	}))
	t.Cleanup(server.Close)
	return server
}
