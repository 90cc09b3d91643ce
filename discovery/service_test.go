package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"canopy/client"
)

// tokenService is the part of the v2 API that discovery uses, for one token; a
// test controls what it answers and when.
type tokenService struct {
	url string // of the token

	// mu guards what follows.
	mu      sync.Mutex
	nodes   []*client.Node // below the token
	size    string         // "": none is set
	index   uint64
	events  []*client.Node
	changed chan struct{} // closed when there is an event
	script  func(w http.ResponseWriter, r *http.Request) bool
	asked   []string
}

const tokenPath = "/v2/keys/discovery/tok1"

func newTokenService(t *testing.T, size string) *tokenService {
	t.Helper()
	s := &tokenService{size: size, index: 4, changed: make(chan struct{})}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL + tokenPath
	return s
}

// do changes the service atomically.
func (s *tokenService) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// set writes a key, like any client.
func (s *tokenService) set(key, value string) {
	s.do(func() { s.put(key, value) })
}

func (s *tokenService) put(key, value string) *client.Node {
	s.index++
	n := &client.Node{Key: "/discovery/tok1/" + key, Value: value, CreatedIndex: s.index, ModifiedIndex: s.index}
	s.nodes = append(slices.DeleteFunc(s.nodes, func(old *client.Node) bool { return old.Key == n.Key }), n)
	s.happened(n)
	return n
}

func (s *tokenService) delete(key string) {
	s.do(func() {
		s.index++
		s.nodes = slices.DeleteFunc(s.nodes, func(old *client.Node) bool { return path.Base(old.Key) == key })
		s.happened(&client.Node{Key: "/discovery/tok1/" + key, ModifiedIndex: s.index})
	})
}

func (s *tokenService) happened(n *client.Node) {
	s.events = append(s.events, n)
	close(s.changed)
	s.changed = make(chan struct{})
}

// keys are the registered keys.
func (s *tokenService) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, n := range s.nodes {
		keys = append(keys, path.Base(n.Key))
	}
	return keys
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.String())
	script := s.script
	s.mu.Unlock()
	if script != nil && script(w, r) {
		return
	}
	below := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, tokenPath), "/")
	switch {
	case r.URL.Query().Get("wait") == "true":
		s.serveWait(w, r)
	case r.Method == http.MethodPut:
		s.serveCreate(w, below, r.PostFormValue("value"))
	default:
		s.serveGet(w, below)
	}
}

func (s *tokenService) serveGet(w http.ResponseWriter, below string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Etcd-Index", strconv.FormatUint(s.index, 10))
	switch {
	case s.size == "":
		v2Error(w, http.StatusNotFound, client.ErrKeyNotFound, "Key not found")
	case below == "":
		v2Answer(w, http.StatusOK, "get", &client.Node{Key: "/discovery/tok1", Dir: true, Nodes: s.nodes})
	default:
		v2Answer(w, http.StatusOK, "get", &client.Node{Key: "/discovery/tok1/_config/size", Value: s.size})
	}
}

func (s *tokenService) serveCreate(w http.ResponseWriter, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.nodes, func(n *client.Node) bool { return path.Base(n.Key) == key }) {
		v2Error(w, http.StatusPreconditionFailed, client.ErrNodeExist, "Key already exists")
		return
	}
	v2Answer(w, http.StatusCreated, "create", s.put(key, value))
}

func (s *tokenService) serveWait(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.ParseUint(r.URL.Query().Get("waitIndex"), 10, 64)
	for {
		s.mu.Lock()
		at := slices.IndexFunc(s.events, func(n *client.Node) bool { return n.ModifiedIndex >= from })
		changed := s.changed
		if at >= 0 {
			v2Answer(w, http.StatusOK, "set", s.events[at])
		}
		s.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func v2Answer(w http.ResponseWriter, status int, action string, n *client.Node) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"action": action, "node": n}) // a client that has left asks again
}

func v2Error(w http.ResponseWriter, status int, code client.Code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errorCode":%d,"message":%q,"cause":"/discovery/tok1","index":4}`, code, message)
}

// waits tells whether a client waits for an event.
func (s *tokenService) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.asked, func(line string) bool { return strings.Contains(line, "wait=true") })
}

// refuseWith gives a script that answers each matching request with a status and a body.
func refuseWith(match func(*http.Request) bool, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !match(r) {
			return false
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
}

func everything(*http.Request) bool { return true }

// canceled is a context that has ended.
func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
