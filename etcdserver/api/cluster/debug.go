package cluster

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
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

// DebugVars answers in the layout of S34: one variable a line.
func (h *Handler) DebugVars(w http.ResponseWriter, r *http.Request) {
	commandLine := h.CommandLine
	if commandLine == nil {
		commandLine = []string{}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b := append([]byte("{\n"), `"cmdline": `...)
	b = answer.AppendJSON(b, commandLine)
	b = append(b, ",\n\"file_descriptor_limit\": "...)
	b = strconv.AppendUint(b, h.FileLimit, 10)
	b = append(b, ",\n\"memstats\": "...)
	b = answer.AppendJSON(b, memory)
	b = append(b, ",\n\"raft.status\": "...)
	b = answer.AppendJSON(b, h.raftStatus())
	b = append(b, "\n}\n"...)
	w.Header().Set(answer.HeaderType, "application/json; charset=utf-8")
	h.Answers.Body(w, r, http.StatusOK, b)
}

func (h *Handler) raftStatus() raftStatusJSON {
	c := h.Member.Consensus()
	j := raftStatusJSON{
		ID:       h.Member.ID().String(),
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

// AddPprof serves the profiles of S36, with and without the final slash that the links of the index page need.
func (h *Handler) AddPprof(r *mux.Router) {
	r.HandleFunc("/debug/pprof", h.AsRoot(pprof.Index))
	r.HandleFunc("/debug/pprof/", h.AsRoot(pprof.Index))
	r.HandleFunc("/debug/pprof/cmdline", h.AsRoot(func(w http.ResponseWriter, r *http.Request) { // the handler of package pprof shows passwords
		w.Header().Set(answer.HeaderType, "text/plain; charset=utf-8")
		h.Answers.Body(w, r, http.StatusOK, []byte(strings.Join(h.CommandLine, "\x00")))
	}))
	r.HandleFunc("/debug/pprof/profile", h.AsRoot(pprof.Profile))
	r.HandleFunc("/debug/pprof/symbol", h.AsRoot(pprof.Symbol))
	r.HandleFunc("/debug/pprof/trace", h.AsRoot(pprof.Trace))
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		r.HandleFunc("/debug/pprof/"+name, h.AsRoot(pprof.Handler(name).ServeHTTP))
	}
}
