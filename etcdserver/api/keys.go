package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"canopy/store"
)

const (
	keysPrefix  = "/v2/keys"
	keysMethods = "HEAD,GET,PUT,POST,DELETE"
)

// serveKeys answers a request to /v2/keys; raw is the decoded path after it. The order of work is that of K9.
func (h *Handler) serveKeys(w http.ResponseWriter, r *http.Request, raw string) {
	key, err := store.ParseKey(raw)
	if errors.Is(err, store.ErrAboveRoot) {
		http.NotFound(w, r) // K23
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		refuseMethod(w, keysMethods)
		return
	}
	if err = h.checkDepth(key, err); err != nil {
		h.writeKeysError(w, r, err)
		return
	}
	p, taken, err := h.params(w, r)
	if taken > 0 {
		defer h.o.Memory.Give(taken)
	}
	if err != nil {
		h.writeKeysError(w, r, err)
		return
	}
	if p.wait && !p.quorum { // with quorum, wait is dropped (K44)
		h.watch(w, r, key, &p)
		return
	}
	h.execute(w, r, key, &p)
}

// checkDepth turns what ParseKey says of depth, and our own limit, into a refusal.
func (h *Handler) checkDepth(key store.Key, err error) error {
	limit := h.o.KeyDepthMax
	switch {
	case err != nil:
		limit = store.MaxDepth
	case limit <= 0 || key.IsRoot() || strings.Count(key.String(), "/") <= limit:
		return nil
	}
	h.o.Metrics.Refused("depth")
	cause := fmt.Sprintf("the key has more components than the limit of %d", limit)
	return &store.Error{Code: store.CodeInvalidField, Cause: cause}
}

// execute does everything but watches, and counts it (S27).
func (h *Handler) execute(w http.ResponseWriter, r *http.Request, key store.Key, p *params) {
	counts := h.o.Metrics.Keys(r.Method, p.quorum)
	counts.Received.Inc()
	start := time.Now()
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.read(w, r, key, p)
	default:
		err = h.write(w, r, key, p)
	}
	if err != nil {
		counts.Failed(h.writeKeysError(w, r, err))
		return
	}
	counts.Duration.Observe(time.Since(start).Seconds())
}

// read answers GET and HEAD. Its errors are still to be answered.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, key store.Key, p *params) error {
	linearizable := p.quorum && r.Method == http.MethodGet // K8
	if linearizable {
		setReadDeadline(w, time.Time{}) // the member bounds the wait
	}
	view, err := h.member.Read(r.Context(), linearizable)
	if err != nil {
		return err
	}
	h.o.Metrics.Reads(p.recursive).Inc()
	listing, err := view.Get(key, store.ReadOptions{Recursive: p.recursive, Sorted: p.sorted, Now: h.member.Now()})
	h.member.CountGet(err == nil)
	if err != nil {
		h.o.Metrics.ReadsFailed(p.recursive).Inc()
		return err
	}
	if !listing.Small() {
		return h.writeListing(w, r, view.Index(), listing)
	}
	buffer := h.buffer()
	defer h.release(buffer)
	*buffer = listing.AppendJSON(*buffer)
	h.writeKeys(w, r, http.StatusOK, view.Index(), *buffer)
	return nil
}

// write answers PUT, POST and DELETE. Its errors are still to be answered.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, key store.Key, p *params) error {
	setReadDeadline(w, time.Time{})                                             // the request is here; the member bounds the wait
	applied, err := h.member.Do(context.Background(), p.command(r.Method, key)) // goes on without its client (K125)
	if err != nil {
		return err
	}
	event := applied.Event
	status, body := http.StatusOK, event.JSON()
	if event.Created() {
		status = http.StatusCreated
	}
	if p.noValueOnSuccess && r.Method != http.MethodDelete { // K17
		body = []byte(`{"action":"` + event.Action().String() + "\"}\n")
	}
	h.writeKeys(w, r, status, event.Index(), body)
	return nil
}
