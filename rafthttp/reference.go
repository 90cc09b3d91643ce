package rafthttp

import (
	"net/http"
	"strconv"
	"strings"

	"canopy/rafthttp/wire"
)

// Versions of the reference's protocol.
const (
	referenceVersionMin     = "2.2.0" // the oldest that a member of 2.3.8 talks to
	referenceVersionMissing = "2.0.0" // of a sender without a version
)

// serveReference answers members of the reference that use this one by mistake, with the texts of the reference (R7, R30). It
// never answers as a member, and never hangs.
func (t *Transport) serveReference(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	method := "POST"
	switch {
	case strings.HasPrefix(path, "/raft/stream/message/"), strings.HasPrefix(path, "/raft/stream/msgapp/"):
		method = "GET"
		w.Header().Set(wire.HeaderVersion, t.o.ServerVersion)
	case path != "/raft" && path != "/raft/snapshot":
		http.NotFound(w, r)
		return
	}
	if r.Method != method {
		w.Header().Set("Allow", method)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	own := strconv.FormatUint(t.o.Self.Cluster, 16)
	w.Header().Set(wire.HeaderCluster, own)
	compatible, err := t.compatible(r.Header)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cluster := r.Header.Get(wire.HeaderCluster)
	if !compatible || cluster == own {
		t.journal.warn(subject{0, "reference"}, "a member of etcd at %s (remote[%.20q]=%.20q) was told that it is not compatible", r.RemoteAddr,
			r.Header.Get(wire.HeaderFrom), r.Header.Get(wire.HeaderVersion))
		http.Error(w, "incompatible version", http.StatusPreconditionFailed)
		return
	}
	t.journal.warn(subject{0, "reference cluster"}, "request cluster ID mismatch (got %.20s want %s) from %s", cluster, own, r.RemoteAddr)
	http.Error(w, "cluster ID mismatch", http.StatusPreconditionFailed)
}

// compatible compares versions by the rule of the reference. The error is for an invalid header (R9).
func (t *Transport) compatible(header http.Header) (bool, error) {
	sender, err := versionOf(header, wire.HeaderVersion)
	if err != nil {
		return false, err
	}
	needed, err := versionOf(header, "X-Min-Cluster-Version")
	if err != nil {
		return false, err
	}
	least, err := wire.ParseVersion(referenceVersionMin)
	if err != nil {
		return false, err
	}
	own, err := wire.ParseVersion(t.o.ServerVersion)
	if err != nil {
		return false, err
	}
	return !sender.Before(least) && !own.Before(needed), nil
}

func versionOf(header http.Header, name string) (wire.Version, error) {
	text := header.Get(name)
	if text == "" {
		text = referenceVersionMissing
	}
	v, err := wire.ParseVersion(text)
	if err != nil {
		return wire.Version{}, wire.BadHeader(header, name)
	}
	return v, nil
}
