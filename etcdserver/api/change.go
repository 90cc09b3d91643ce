package api

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
)

// changeBytesMax bounds the body of a request to change the membership.
const changeBytesMax = 1 << 20

// changeMembers answers POST, PUT and DELETE with all that can be said without changing anything, in the order of M18
// and M22. A change itself is refused: a member that runs alone has nobody to change its cluster with.
func (h *Handler) changeMembers(w http.ResponseWriter, r *http.Request, below string) {
	var urls []string
	if r.Method != http.MethodDelete {
		contentType := r.Header.Get(headerType)
		if mediaType, _, err := mime.ParseMediaType(contentType); err != nil || mediaType != "application/json" {
			h.writeMessage(w, r, http.StatusUnsupportedMediaType, "Bad Content-Type "+contentType+", accept application/json")
			return
		}
		var err error
		if urls, err = readPeerURLs(w, r); err != nil {
			h.writeMessage(w, r, http.StatusBadRequest, err.Error())
			return
		}
	}
	var target etcdserver.MemberInfo
	if r.Method != http.MethodPost {
		id, err := strconv.ParseUint(below, 16, 64)
		known := false
		if target, known = h.find(etcdserver.ID(id)); err != nil || !known {
			h.writeMessage(w, r, http.StatusNotFound, "No such member: "+below)
			return
		}
	}
	members := h.member.Members()
	switch {
	case r.Method == http.MethodDelete && len(members) == 1:
		h.writeMessage(w, r, http.StatusConflict, "etcdserver: the last member cannot be removed") // M26
	case isTaken(urls, members, target.ID):
		h.writeMessage(w, r, http.StatusConflict, "etcdserver: peerURL exists")
	case r.Method == http.MethodPut && slices.Equal(urls, target.PeerURLs):
		w.WriteHeader(http.StatusNoContent)
	default:
		h.writeMessage(w, r, http.StatusNotImplemented, "changing the members of a cluster is not available yet")
	}
}

// isTaken tells whether another member has one of the URLs, compared as strings.
func isTaken(urls []string, members []etcdserver.MemberInfo, but etcdserver.ID) bool {
	for _, m := range members {
		if m.ID != but && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return true
		}
	}
	return false
}

// readPeerURLs reads {"peerURLs":[…]}, sorted. The texts of its errors are those of E31.
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
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return fmt.Errorf("URL address does not have the form \"host:port\": %s", text)
	}
	if u.Path != "" {
		return fmt.Errorf("URL must not contain a path: %s", text)
	}
	return nil
}
