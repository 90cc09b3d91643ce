package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/api/accounts"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/api/form"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/etcdserver/metrics"
	"canopy/store"
)

// access is what a keys request needs, and who makes it.
type access struct {
	from      etcdserver.Origin
	right     auth.Right
	key       string // the path behind /v2/keys, decoded (A37)
	recursive bool
	checked   bool       // users and roles matter
	user      *auth.User // whose password was right; nil: nobody's
}

// authorize finds who makes a keys request, and whether that one may (section 6 of A). Errors are those of Finder.Find and
// *auth.DeniedError.
func (h *Handler) authorize(r *http.Request, raw string, p *form.Params) (access, error) {
	s := h.member.Auth()
	a := access{from: etcdserver.Origin{Revision: s.Revision()}}
	if !s.Enabled() {
		return a, nil
	}
	a.right, a.key, a.checked = rightFor(r.Method), raw, true
	a.recursive = p.Recursive || p.Dir && p.TTL.Set && a.right == auth.Write // A40, A46
	now := int64(h.member.Now())
	who, err := h.finder.Find(r, s, now)
	if err != nil {
		return a, err
	}
	a.from.Requester = who
	if who.Token == (auth.TokenID{}) && r.Header.Get("Authorization") != "" {
		a.user = s.User(who.User)
	}
	return a, a.check(s, now)
}

func rightFor(method string) auth.Right {
	if method == http.MethodGet || method == http.MethodHead {
		return auth.Read // A38
	}
	return auth.Write
}

// check tells whether a state allows it.
func (a *access) check(s *auth.State, now int64) error {
	if !s.Rights(a.from.Requester, now).Allows(a.right, a.key, a.recursive) {
		return &auth.DeniedError{Requester: a.from.Requester}
	}
	return nil
}

// recheck is called when a request has its data: the users and roles that allow it must not be older (A63).
func (h *Handler) recheck(r *http.Request, c *call) (err error) {
	if h.member.Auth().Revision() == c.access.from.Revision {
		return nil
	}
	c.access, err = h.authorize(r, c.raw, &c.params)
	return err
}

// isStale tells whether the password that was right has changed since. A proxy shares a watch among clients with the same
// password, and does not check it again.
func (a *access) isStale(s *auth.State) bool {
	if a.user == nil {
		return false
	}
	now := s.User(a.user.Name)
	return now == nil || !bytes.Equal(now.Hash, a.user.Hash)
}

// mayRead tells whether who writes a key may see the value that it had (A48).
func (h *Handler) mayRead(a *access) bool {
	if !a.checked {
		return true
	}
	return h.member.Auth().Rights(a.from.Requester, int64(h.member.Now())).Allows(auth.Read, a.key, a.recursive)
}

// withoutPrevValue leaves the value of prevNode out of an event's JSON. The JSON is our own: an object whose values are
// texts, numbers and objects.
func withoutPrevValue(event []byte) []byte {
	d := json.NewDecoder(strings.NewReader(string(event)))
	var inPrev bool
	for depth := 0; ; {
		before := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return event
		}
		switch token {
		case json.Delim('{'):
			depth++
			continue
		case json.Delim('}'):
			depth--
			inPrev = inPrev && depth > 1
			continue
		case "prevNode":
			inPrev = inPrev || depth == 1
			continue
		}
		if name, isText := token.(string); !inPrev || !isText || name != "value" || depth != 2 {
			if isText && depth == 2 { // the value of this name
				if _, err := d.Token(); err != nil {
					return event
				}
			}
			continue
		}
		if _, err := d.Token(); err != nil {
			return event
		}
		return append(append([]byte(nil), event[:before]...), event[d.InputOffset():]...)
	}
}

// withoutActual leaves the actual value out of the cause of a compare that failed (A48).
func withoutActual(err error, p *form.Params) error {
	var e *store.Error
	if !errors.As(err, &e) || e.Code != store.CodeCompareFailed || p.PrevValue == "" || !strings.HasPrefix(e.Cause, "["+p.PrevValue+" != ") {
		return err
	}
	return &store.Error{Code: e.Code, Cause: "[" + p.PrevValue + " != ?]", Index: e.Index}
}

// admitRoot tells whether the request is one of root, and answers it otherwise (A12).
func (h *Handler) admitRoot(w http.ResponseWriter, r *http.Request) bool {
	s := h.member.Auth()
	if !s.Enabled() {
		return true
	}
	now := int64(h.member.Now())
	who, err := h.finder.Find(r, s, now)
	switch {
	case errors.Is(err, login.ErrBusy):
		h.answers.PutRetry(w.Header())
		h.answers.Message(w, r, http.StatusServiceUnavailable, err.Error())
	case err != nil || !s.Rights(who, now).Root():
		if err == nil {
			h.o.Metrics.Logins.Refused(metrics.NoRight)
		}
		delete(w.Header(), answer.HeaderClusterID)
		accounts.Challenge(w)
		h.o.Metrics.Refused("rights")
		h.answers.Message(w, r, http.StatusUnauthorized, "Insufficient credentials")
	default:
		return true
	}
	return false
}

// recheckEvery is how often watches are checked although nothing has changed: tokens expire.
const recheckEvery = 10 * time.Second

// Run ends watches whose owners lose their rights (A49), until ctx ends.
func (h *Handler) Run(ctx context.Context) error {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	revision := h.member.Auth().Revision()
	for {
		changed := h.member.AuthChanged()
		if now := h.member.Auth().Revision(); now != revision {
			revision = now
			h.recheckWatches()
			continue
		}
		select {
		case <-changed:
		case <-tick.C:
			h.recheckWatches()
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *Handler) recheckWatches() {
	s, now := h.member.Auth(), int64(h.member.Now())
	if !s.Enabled() {
		return
	}
	for _, open := range h.watches.all() {
		if open.check(s, now) != nil || open.isStale(s) {
			open.watcher.Close()
		}
	}
}
