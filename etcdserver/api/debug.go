package api

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"canopy/etcdserver"
)

// raftStatusJSON is raft.status of /debug/vars, where tools read a member's true role (S35).
type raftStatusJSON struct {
	ID       string                  `json:"id"`
	Term     uint64                  `json:"term"`
	Vote     string                  `json:"vote"`
	Commit   uint64                  `json:"commit"`
	Lead     string                  `json:"lead"`
	State    string                  `json:"raftState"`
	Progress map[string]progressJSON `json:"progress"` // of all members, on a leader
}

type progressJSON struct {
	Match uint64 `json:"match"`
	Next  uint64 `json:"next"`
	State string `json:"state"`
}

// debugVars answers in the layout of S34: one variable a line.
func (h *Handler) debugVars(w http.ResponseWriter, r *http.Request) {
	commandLine := h.o.CommandLine
	if commandLine == nil {
		commandLine = []string{}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b := append([]byte("{\n"), `"cmdline": `...)
	b = appendJSON(b, commandLine)
	b = append(b, ",\n\"file_descriptor_limit\": "...)
	b = strconv.AppendUint(b, h.o.FileLimit, 10)
	b = append(b, ",\n\"memstats\": "...)
	b = appendJSON(b, memory)
	b = append(b, ",\n\"raft.status\": "...)
	b = appendJSON(b, h.raftStatus())
	b = append(b, "\n}\n"...)
	w.Header().Set(headerType, "application/json; charset=utf-8")
	h.writeBody(w, r, http.StatusOK, b)
}

func (h *Handler) raftStatus() raftStatusJSON {
	c := h.member.Consensus()
	j := raftStatusJSON{
		ID:       h.member.ID().String(),
		Term:     c.Term,
		Vote:     c.Vote.String(),
		Commit:   c.Committed,
		Lead:     c.Leader.String(),
		State:    stateName(c.Role),
		Progress: map[string]progressJSON{},
	}
	for _, p := range c.Progress {
		j.Progress[p.ID.String()] = progressJSON{p.Match, p.Next, progressName(p.Mode)}
	}
	return j
}

// progressName is how the reference calls a mode of progress.
func progressName(m etcdserver.ProgressMode) string {
	switch m {
	case etcdserver.ProgressReplicating:
		return "ProgressStateReplicate"
	case etcdserver.ProgressSendingSnapshot:
		return "ProgressStateSnapshot"
	}
	return "ProgressStateProbe"
}

// addPprof serves the profiles of S36, with and without the final slash that the links of the index page need.
func (h *Handler) addPprof(r *mux.Router) {
	r.HandleFunc("/debug/pprof", h.asRoot(pprof.Index))
	r.HandleFunc("/debug/pprof/", h.asRoot(pprof.Index))
	r.HandleFunc("/debug/pprof/cmdline", h.asRoot(func(w http.ResponseWriter, r *http.Request) { // the handler of package pprof shows passwords
		w.Header().Set(headerType, "text/plain; charset=utf-8")
		h.writeBody(w, r, http.StatusOK, []byte(strings.Join(h.o.CommandLine, "\x00")))
	}))
	r.HandleFunc("/debug/pprof/profile", h.asRoot(pprof.Profile))
	r.HandleFunc("/debug/pprof/symbol", h.asRoot(pprof.Symbol))
	r.HandleFunc("/debug/pprof/trace", h.asRoot(pprof.Trace))
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		r.HandleFunc("/debug/pprof/"+name, h.asRoot(pprof.Handler(name).ServeHTTP))
	}
}
