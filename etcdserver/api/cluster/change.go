package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
)

// changeBytesMax bounds the body of a request that changes the membership. The memory of the connection covers it, so that
// Members can be changed when the budget is used up.
const changeBytesMax = 16 << 10

// changeMembers answers POST, PUT and DELETE (M15–M29). Checks that do not need the leader come first, in the order of M18
// and M22. POST to <id>/promote, which has no body, is an extension.
func (h *Handler) changeMembers(w http.ResponseWriter, r *http.Request, below string) {
	var urls []string
	var err error
	below, promote := cutPromote(r.Method, below)
	if promote || r.Method == http.MethodDelete {
		err = h.SkipBody(w, r)
	} else {
		contentType := r.Header.Get(answer.HeaderType)
		if mediaType, _, err := mime.ParseMediaType(contentType); err != nil || mediaType != "application/json" {
			h.Answers.Message(w, r, http.StatusUnsupportedMediaType, "Bad Content-Type "+contentType+", accept application/json")
			return
		}
		urls, err = readPeerURLs(w, r)
	}
	if err != nil {
		h.Answers.Message(w, r, http.StatusBadRequest, err.Error())
		return
	}
	if r.Method == http.MethodPost && !promote {
		h.addMember(w, r, urls)
		return
	}
	id, err := strconv.ParseUint(below, 16, 64)
	if err == nil {
		below = etcdserver.ID(id).String() // the form that is used everywhere (M2)
	}
	if id == 0 || err != nil {
		h.Answers.Message(w, r, http.StatusNotFound, "No such member: "+below)
		return
	}
	switch {
	case promote:
		err = h.Member.PromoteMember(r.Context(), etcdserver.ID(id))
	case r.Method == http.MethodPut:
		err = h.Member.UpdateMember(r.Context(), etcdserver.ID(id), urls)
	default:
		err = h.Member.RemoveMember(r.Context(), etcdserver.ID(id))
	}
	if err != nil {
		h.FailChange(w, r, below, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// cutPromote cuts the suffix for promotion off a path.
func cutPromote(method, below string) (id string, promote bool) {
	if method != http.MethodPost {
		return below, false
	}
	return strings.CutSuffix(below, "/promote")
}

func (h *Handler) addMember(w http.ResponseWriter, r *http.Request, urls []string) {
	added, err := h.Member.AddMember(r.Context(), urls)
	if err != nil {
		h.FailChange(w, r, "", err)
		return
	}
	h.Answers.JSON(w, r, http.StatusCreated, toMemberJSON(added), "\n")
}

// FailChange tells why a change failed (M28). A 500 means that the change may still be made (M27); no other status
// does.
func (h *Handler) FailChange(w http.ResponseWriter, r *http.Request, target string, err error) {
	var refused *etcdserver.ReconfigurationError
	switch {
	case errors.Is(err, etcdserver.ErrNoSuchMember):
		h.Answers.Message(w, r, http.StatusNotFound, "No such member: "+target)
	case errors.Is(err, etcdserver.ErrMemberRemoved):
		h.Answers.Message(w, r, http.StatusGone, "Member permanently removed: "+target)
	case errors.Is(err, etcdserver.ErrPeerURLExists), errors.Is(err, etcdserver.ErrLastMember), errors.As(err, &refused):
		h.Answers.Message(w, r, http.StatusConflict, err.Error())
	default:
		if errors.Is(err, etcdserver.ErrTooBusy) {
			h.Answers.PutRetry(w.Header())
		}
		h.Answers.Message(w, r, answer.StatusOfFailure(err), err.Error())
	}
}

// readPeerURLs parses {"peerURLs":[…]}, and sorts it. E31 has the texts of its errors.
func readPeerURLs(w http.ResponseWriter, r *http.Request) ([]string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, changeBytesMax))
	if err != nil {
		return nil, err
	}
	var wanted struct {
		PeerURLs []string `json:"peerURLs"`
	}
	if err := json.Unmarshal(body, &wanted); err != nil {
		return nil, err
	}
	if len(wanted.PeerURLs) == 0 {
		return nil, errors.New("no valid URLs given")
	}
	urls := make([]string, 0, len(wanted.PeerURLs))
	for _, text := range wanted.PeerURLs {
		text = strings.TrimSpace(text)
		if err := checkPeerURL(text); err != nil {
			return nil, err
		}
		if slices.Contains(urls, text) {
			return nil, fmt.Errorf("URL is given twice: %s", text) // M20
		}
		urls = append(urls, text)
	}
	slices.Sort(urls)
	return urls, nil
}

func checkPeerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("URL scheme must be http or https: %s", text)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("URL address does not have the form \"host:port\": %s", text)
	}
	if u.Path != "" {
		return fmt.Errorf("URL must not contain a path: %s", text)
	}
	return nil
}
