package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"canopy/client"
)

// waitMax bounds the time of a forwarded wait; then it ends with an empty answer,
// and the client asks again (D14), which keeps the token.
const waitMax = time.Hour

// errWaited ends a wait after its time.
var errWaited = errors.New("the time of the wait is over")

// serveKey forwards a request for a token, or for a key below it, to the store
// (D32).
func (s *Service) serveKey(w http.ResponseWriter, r *http.Request) {
	token, below := split(r)
	asked, no := parameters(r)
	if no != nil {
		writeMessage(w, no.status, "%s", no.reason)
		return
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.o.Log.Warnf("cannot remove the time-out of a wait: %v", err)
	}
	switch {
	case r.Method == http.MethodPut && below != "":
		s.register(w, r, token, below, asked)
		return
	case asked.Get("wait") == "true":
		if _, there := s.find(w, r, token); !there {
			return
		}
		who := s.address(r)
		if !s.waits.enter(who) {
			tooMany(w)
			return
		}
		defer s.waits.leave(who)
		waiting, cancel := context.WithTimeoutCause(r.Context(), s.waitMax(), errWaited)
		defer cancel()
		r = r.WithContext(waiting)
	}
	s.forward(w, r, token, below, asked)
}

// waitMax is short enough to keep a token alive while somebody waits.
func (s *Service) waitMax() time.Duration {
	if s.o.TokenTTL == 0 {
		return waitMax
	}
	return min(waitMax, s.o.TokenTTL/2)
}

// renewalDue tells whether the TTL of a token in use is to be renewed, of which so
// much is left: whole seconds, rounded up. What is left otherwise outlasts the
// longest wait.
func renewalDue(left, ttl time.Duration) bool {
	return left > 0 && left-time.Second < ttl*3/4
}

// find looks up a token that is in use, and renews its TTL once a quarter of it
// is over. If the token does not exist, it answers.
func (s *Service) find(w http.ResponseWriter, r *http.Request, token string) (*client.Node, bool) {
	found, err := s.store.list(r.Context(), token)
	var said *client.Error
	switch {
	case errors.As(err, &said):
		writeError(w, said)
		return nil, false
	case err != nil:
		s.unavailable(w, r, err)
		return nil, false
	}
	if renewalDue(time.Duration(found.TTL)*time.Second, s.o.TokenTTL) {
		if err := s.store.refresh(r.Context(), token, s.o.TokenTTL); err != nil {
			s.o.Log.Warnf("cannot renew the TTL of a token in use: %v", err)
		}
	}
	return found, true
}

// register forwards a registration, if it does not harm others.
func (s *Service) register(w http.ResponseWriter, r *http.Request, token, id string, asked url.Values) {
	lock := s.locks.of(token)
	lock.Lock()
	defer lock.Unlock()
	found, there := s.find(w, r, token)
	if !there {
		return
	}
	if no := judge(found.Nodes, id, asked.Get("value")); no != nil {
		writeMessage(w, no.status, "%s", no.reason)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	s.forward(w, r.WithContext(ctx), token, id, asked)
}

// forward forwards a request with the given parameters. Values go into the body,
// all others into the query.
func (s *Service) forward(w http.ResponseWriter, r *http.Request, token, below string, asked url.Values) {
	var form []byte
	if value, has := asked["value"]; has {
		form = []byte(url.Values{"value": value}.Encode())
		asked.Del("value")
	}
	out := r.Clone(r.Context())
	path := registryPath + token
	if below != "" {
		path += "/" + below
	}
	out.URL = &url.URL{Scheme: "http", Host: storeHost, Path: path, RawQuery: asked.Encode()}
	out.Host, out.RequestURI = storeHost, ""
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(form)), nil }
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(form)), int64(len(form))
	s.pass.ServeHTTP(w, out)
}

// newPass makes the reverse proxy for requests in the form that the store gets.
// It sends answers on as they come (D33).
func (s *Service) newPass() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     s.o.Store,
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header.Del("Origin") // this service decides who may ask
			if r.Out.ContentLength > 0 {
				r.Out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		},
		ModifyResponse: func(response *http.Response) error {
			response.Body = &waited{response.Body, response.Request.Context()}
			return nil
		},
		ErrorHandler: s.unavailable,
	}
}

// unavailable answers if the store does not (D36).
func (s *Service) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(context.Cause(r.Context()), errWaited) {
		w.WriteHeader(http.StatusOK)
		return
	}
	if r.Context().Err() == nil {
		s.o.Log.Warnf("the store is not available: %v", err)
	}
	writeMessage(w, http.StatusServiceUnavailable, "the store of this discovery service is not available")
}

// waited is the body of an answer, which ends without an error after the time of
// a wait.
type waited struct {
	io.ReadCloser
	ctx context.Context
}

// Read gives the next bytes of the answer.
func (b *waited) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && errors.Is(context.Cause(b.ctx), errWaited) {
		err = io.EOF
	}
	return n, err
}
