package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
	"canopy/internal/middleware"
)

// NewPeer serves what programs other than members read on the peer port (R1–R5 of peer.md): the members, and the version of
// this one.
func NewPeer(member Member) http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.HandleFunc("/members", answer.Only(func(w http.ResponseWriter, _ *http.Request) { writePeerMembers(w, member) }, "GET"))
	r.HandleFunc("/version", answer.Only(func(w http.ResponseWriter, _ *http.Request) { writeVersion(w, member) }, "GET"))
	r.HandleFunc("/health", answer.Only(func(w http.ResponseWriter, r *http.Request) { writePeerHealth(w, r, member) }, "GET"))
	r.HandleFunc("/raft/probing", func(w http.ResponseWriter, _ *http.Request) {
		writePeerJSON(w, struct {
			OK  bool
			Now time.Time
		}{true, time.Now().UTC()})
	})
	r.NotFoundHandler = http.HandlerFunc(http.NotFound)
	return r
}

// peerMember is a member in the form for old proxies: its ID is a number, and empty fields are left out (R5).
type peerMember struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

func writePeerMembers(w http.ResponseWriter, member Cluster) {
	list := []peerMember{}
	for _, m := range member.Members() {
		list = append(list, peerMember{uint64(m.ID), m.PeerURLs, m.Name, m.ClientURLs})
	}
	w.Header().Set("X-Etcd-Cluster-Id", member.ClusterID().String())
	writePeerJSON(w, list)
}

// writeVersion answers as the client port does (peer.md R2).
func writeVersion(w http.ResponseWriter, member Cluster) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(middleware.VersionJSON(etcdserver.APIVersion, member.ClusterVersion())) // fails if the client has left
}

// writePeerHealth tells other members, which may have no certificate for the client port, whether this one can read what is
// committed.
func writePeerHealth(w http.ResponseWriter, r *http.Request, member Condition) {
	ctx, cancel := context.WithTimeout(r.Context(), HealthTimeoutDefault)
	defer cancel()
	if err := member.Health(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	writePeerJSON(w, map[string]string{"health": "true"})
}

func writePeerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // the client has left
	}
}
