package cluster

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
	"canopy/internal/middleware"
)

const membersMethods = "GET,POST,DELETE,PUT"

// memberJSON is a member on the wire; the first four fields are always there (M8).
type memberJSON struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	Learner    bool     `json:"isLearner,omitempty"` // it follows without a vote, and becomes a voter when it has caught up
}

func toMemberJSON(m etcdserver.MemberInfo) memberJSON {
	return memberJSON{ID: m.ID.String(), Name: m.Name, PeerURLs: listed(m.PeerURLs), ClientURLs: listed(m.ClientURLs), Learner: m.Learner}
}

// listed makes an empty list [] in JSON.
func listed(urls []string) []string {
	if urls == nil {
		return []string{}
	}
	return urls
}

// Members answers /v2/members and the paths below.
func (h *Handler) Members(w http.ResponseWriter, r *http.Request) {
	below := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v2/members"), "/")
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
		h.Answers.PutCluster(w.Header())
	default:
		answer.RefuseMethod(w, membersMethods) // also HEAD (M12)
		return
	}
	switch {
	case r.Method == http.MethodGet:
		h.readMembers(w, r, below)
	case r.Method != http.MethodPost && below == "":
		answer.RefuseMethod(w, "") // E31n
	case h.Admit(w, r):
		h.changeMembers(w, r, below)
	}
}

func (h *Handler) readMembers(w http.ResponseWriter, r *http.Request, below string) {
	switch below {
	case "":
		list := struct {
			Members []memberJSON `json:"members"`
		}{[]memberJSON{}}
		for _, m := range h.Member.Members() {
			list.Members = append(list.Members, toMemberJSON(m))
		}
		h.Answers.JSON(w, r, http.StatusOK, list, "\n")
	case "leader":
		leader, known := h.find(h.Member.Leader())
		if !known { // also if the leader has just been removed (M11)
			h.Answers.Message(w, r, http.StatusServiceUnavailable, "During election")
			return
		}
		h.Answers.JSON(w, r, http.StatusOK, toMemberJSON(leader), "\n")
	default:
		h.Answers.Message(w, r, http.StatusNotFound, "Not found")
	}
}

// find gives the member of an ID; none has ID 0.
func (h *Handler) find(id etcdserver.ID) (m etcdserver.MemberInfo, known bool) {
	for _, m := range h.Member.Members() {
		if m.ID == id && id != 0 {
			return m, true
		}
	}
	return etcdserver.MemberInfo{}, false
}

// Machines lists all client URLs in one line for very old clients (M13).
func (h *Handler) Machines(w http.ResponseWriter, r *http.Request) {
	var urls []string
	for _, m := range h.Member.Members() {
		urls = append(urls, m.ClientURLs...)
	}
	if len(urls) == 0 {
		return // 200 without Content-Type
	}
	slices.Sort(urls)
	h.Answers.PutText(w.Header())
	h.Answers.Body(w, r, http.StatusOK, []byte(strings.Join(urls, ", ")))
}

// Version answers /version (S19).
func (h *Handler) Version(w http.ResponseWriter, r *http.Request) {
	if h.Program != "" {
		w.Header().Set("X-Canopy-Version", h.Program)
	}
	h.Answers.PutJSON(w.Header())
	h.Answers.Body(w, r, http.StatusOK, middleware.VersionJSON(etcdserver.APIVersion, h.Member.ClusterVersion()))
}

// Health answers with the bytes that health checkers have searched for since 2.0
// (S14). It tells the reason of "false", and whether the state of another member
// differs from the one here (R12).
func (h *Handler) Health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.HealthTimeout)
	defer cancel()
	if err := h.Member.Health(ctx); err != nil {
		h.Metrics.HealthFailures.Inc()
		http.Error(w, `{"health": "false", "reason": `+string(answer.AppendJSON(nil, err.Error()))+h.alarm()+`}`, http.StatusServiceUnavailable)
		return
	}
	h.Metrics.HealthSuccesses.Inc()
	h.Answers.PutText(w.Header())
	h.Answers.Body(w, r, http.StatusOK, []byte(`{"health": "true"`+h.alarm()+`}`))
}

// alarm is the field for members whose state differs, or "".
func (h *Handler) alarm() string {
	var members []string
	for _, d := range h.Member.Differences() {
		members = append(members, d.Member.String())
	}
	if len(members) == 0 {
		return ""
	}
	return `, "alarm": "another state than here: ` + strings.Join(members, ", ") + `"`
}
