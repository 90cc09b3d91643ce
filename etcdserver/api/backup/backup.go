// Package backup serves the whole state of a running cluster as one file, from any member (G59).
//
// The answer is made from an immutable view: writes go on meanwhile, and memory is that of one piece. The file proves at its end
// that it is whole, so that a stream that was cut is noticed.
package backup

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
	"canopy/internal/memory"
	"canopy/migration/archive"
	"canopy/store"
)

// Path is where backups are.
const Path = "/v2/admin/snapshot"

// Member is what this package needs of a member.
type Member interface {
	ClusterID() etcdserver.ID
	// Snapshot gives the whole state: the present one of this member or, if linearizable, one with all that was acknowledged
	// before the call.
	Snapshot(ctx context.Context, linearizable bool) (etcdserver.Snapshot, error)
}

// atOnce is how many backups a member makes at a time: each reads all of the tree.
const atOnce = 2

// backupBytes is the memory of a backup while it is written: its pieces.
const backupBytes = 1 << 20

// Handler serves backups.
type Handler struct {
	Member  Member
	Answers *answer.Writer
	Memory  *memory.Budget // for what a backup holds
	Program string         // version of this program

	slots chan struct{}
}

// New makes a handler.
func New(member Member, answers *answer.Writer, budget *memory.Budget, program string) *Handler {
	return &Handler{Member: member, Answers: answers, Memory: budget, Program: program, slots: make(chan struct{}, atOnce)}
}

// ServeHTTP answers a request. Whoever may ask was checked before.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	quorum := r.URL.Query().Get("quorum")
	if quorum != "" && quorum != "true" && quorum != "false" {
		h.Answers.Message(w, r, http.StatusBadRequest, `invalid value for "quorum"`)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		h.Answers.PutRetry(w.Header())
		h.Answers.Message(w, r, http.StatusServiceUnavailable, fmt.Sprintf("this member makes %d backups already", atOnce))
		return
	}
	state, err := h.Member.Snapshot(r.Context(), quorum != "false")
	if err != nil {
		h.Answers.Message(w, r, answer.StatusOfFailure(err), err.Error())
		return
	}
	out := h.Answers.Patient(w)
	hold, ok := h.Memory.Hold(memory.Answer{Own: backupBytes, Cut: out.Cut})
	if !ok {
		h.Answers.PutRetry(w.Header())
		h.Answers.Message(w, r, http.StatusServiceUnavailable, memory.ErrUsedUp.Error())
		return
	}
	defer hold.End()
	out.Hold(hold)
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // where there is none to set, none ends the answer
	cluster := h.Member.ClusterID().String()
	header := archive.Header{Program: h.Program, Cluster: cluster, Index: uint64(state.View.Index()), Time: time.Now().UTC().Format(time.RFC3339)}
	h.Answers.PutCluster(w.Header())
	h.Answers.PutIndex(w.Header(), store.Index(header.Index))
	w.Header().Set(answer.HeaderType, "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%d.canopy"`, cluster, header.Index))
	if r.Method == http.MethodHead {
		return
	}
	if err := archive.Write(out, header, state); err != nil {
		panic(http.ErrAbortHandler) // the client sees that the stream is cut
	}
}
