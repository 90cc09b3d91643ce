package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/api/form"
	"canopy/store"
)

const (
	keysPrefix  = "/v2/keys"
	keysMethods = "HEAD,GET,PUT,POST,DELETE"
)

// serveKeys answers a request to /v2/keys; raw is the decoded path after it. K9 fixes the order of the checks.
func (h *Handler) serveKeys(w http.ResponseWriter, r *http.Request, raw string) {
	key, err := store.ParseKey(raw)
	if errors.Is(err, store.ErrAboveRoot) {
		http.NotFound(w, r) // K23
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		answer.RefuseMethod(w, keysMethods)
		return
	}
	if err = h.checkKey(r.Method, key, err); err != nil {
		h.writeKeysError(w, r, err)
		return
	}
	c := call{key: key, raw: raw}
	p := &c.params
	var taken int64
	*p, taken, err = h.params(w, r)
	if taken > 0 {
		defer h.o.Memory.Give(taken)
	}
	if err != nil {
		h.writeKeysError(w, r, err)
		return
	}
	if c.access, err = h.authorize(r, raw, p); err != nil {
		h.writeKeysError(w, r, err)
		return
	}
	if p.Wait && !p.Quorum { // with quorum, wait is dropped (K44)
		if err = h.checkSize(key.Depth(), key.Bytes()); err != nil { // a watch holds a node for each component
			h.writeKeysError(w, r, err)
			return
		}
		h.watch(w, r, &c)
		return
	}
	h.execute(w, r, &c)
}

// call is a keys request that may be done.
type call struct {
	key    store.Key
	raw    string // as it was sent
	params form.Params
	access access
}

// checkKey refuses a key that no command can have, and one beyond our own limits if the request makes a node. Nodes that
// exist since other limits were set can be read and deleted.
func (h *Handler) checkKey(method string, key store.Key, err error) error {
	switch {
	case err != nil, method == http.MethodDelete && key.Depth() > store.MaxDepth:
		return h.refuseKey("depth", fmt.Sprintf("the key has more components than the limit of %d", store.MaxDepth))
	case method == http.MethodPut:
		return h.checkSize(key.Depth(), key.Bytes())
	case method == http.MethodPost: // its key is that of the directory; the new node is one level below
		return h.checkSize(key.Depth()+1, key.Bytes()+1+store.OrderedNameBytes)
	}
	return nil
}

// checkSize refuses a key beyond our own limits of depth and length.
func (h *Handler) checkSize(depth, bytes int) error {
	if limit := h.o.KeyDepthMax; depth > limit {
		return h.refuseKey("depth", fmt.Sprintf("the key has more components than the limit of %d", limit))
	}
	if limit := h.o.KeyBytesMax; limit > 0 && bytes > limit {
		return h.refuseKey("length", fmt.Sprintf("the key has %d bytes, more than the limit of %d", bytes, limit))
	}
	return nil
}

func (h *Handler) refuseKey(reason, cause string) error {
	h.o.Metrics.Refused(reason)
	return &store.Error{Code: store.CodeInvalidField, Cause: cause}
}

// execute does everything but watches, and counts it (S27).
func (h *Handler) execute(w http.ResponseWriter, r *http.Request, c *call) {
	counts := h.o.Metrics.Keys(r.Method, c.params.Quorum)
	counts.Received.Inc()
	start := time.Now()
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.read(w, r, c)
	default:
		err = h.write(w, r, c)
	}
	if err != nil {
		counts.Failed(h.writeKeysError(w, r, err))
		return
	}
	counts.Duration.Observe(time.Since(start).Seconds())
}

// read answers GET and HEAD. The caller answers its error.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, c *call) error {
	p := &c.params
	linearizable := p.Quorum && r.Method == http.MethodGet // K8
	if linearizable {
		setReadDeadline(w, time.Time{}) // the member bounds the wait
	}
	view, err := h.member.Read(r.Context(), linearizable)
	if err != nil {
		return err
	}
	if err := h.recheck(r, c); err != nil {
		return err
	}
	h.o.Metrics.Reads(p.Recursive).Inc()
	listing, err := view.Get(c.key, store.ReadOptions{Recursive: p.Recursive, Sorted: p.Sorted, Now: h.member.Now()})
	h.member.CountGet(err == nil)
	if err != nil {
		h.o.Metrics.ReadsFailed(p.Recursive).Inc()
		return err
	}
	if !listing.Small() {
		return h.writeListing(w, r, view.Index(), listing)
	}
	buffer := h.answers.Buffer()
	defer h.answers.Release(buffer)
	*buffer = listing.AppendJSON(*buffer)
	h.answers.Keys(w, r, http.StatusOK, view.Index(), *buffer)
	return nil
}

// write answers PUT, POST and DELETE. The caller answers its error.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, c *call) error {
	p := &c.params
	setReadDeadline(w, time.Time{})                                                                 // the request has been read; the member bounds the wait
	applied, err := h.member.DoFor(context.Background(), c.access.from, p.Command(r.Method, c.key)) // it continues if its client leaves (K125)
	if err != nil {
		if !h.mayRead(&c.access) {
			err = withoutActual(err, p)
		}
		return err
	}
	event := applied.Event
	status, body := http.StatusOK, event.JSON()
	if !h.mayRead(&c.access) {
		body = withoutPrevValue(body)
	}
	if event.Created() {
		status = http.StatusCreated
	}
	if p.NoValueOnSuccess && r.Method != http.MethodDelete { // K17
		body = []byte(`{"action":"` + event.Action().String() + "\"}\n")
	}
	h.answers.Keys(w, r, status, event.Index(), body)
	return nil
}
