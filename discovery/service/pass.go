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

// waitMax is how long a wait is passed through at most; then it ends with an
// empty answer, and whoever waits asks again (D14), which keeps the token.
const waitMax = time.Hour

// errWaited ends a wait that has been long enough.
var errWaited = errors.New("waited for long enough")

// serveKey passes a request for a token, or for what is below it, on to the
// store (D32).
func (s *Service) serveKey(w http.ResponseWriter, r *http.Request) {
	token, below := split(r)
	asked, no := parameters(r)
	if no != nil {
		writeMessage(w, no.status, "%s", no.reason)
		return
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.o.Log.Warnf("wait for as long as it takes: %v", err)
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

// waitMax is short enough for a token not to end while somebody waits.
func (s *Service) waitMax() time.Duration {
	if s.o.TokenTTL == 0 {
		return waitMax
	}
	return min(waitMax, s.o.TokenTTL/2)
}

// find looks a token up, for somebody who uses it: so its life begins anew, once
// a quarter of it is over. A token that is not there is answered.
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
	left := time.Duration(found.TTL) * time.Second
	if s.o.TokenTTL > 0 && left > 0 && left < s.o.TokenTTL*3/4 {
		if err := s.store.refresh(r.Context(), token, s.o.TokenTTL); err != nil {
			s.o.Log.Warnf("keep a token that is in use: %v", err)
		}
	}
	return found, true
}

// register lets a registration in, if it is one that others can live with.
func (s *Service) register(w http.ResponseWriter, r *http.Request, token, id string, asked url.Values) {
	door := s.doors.of(token)
	door.Lock()
	defer door.Unlock()
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

// forward passes a request on, with the parameters that are left of it. Values
// go in the body, all else in the query.
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

// newPass makes the proxy that requests go through once they are what the store
// is to see. Answers are passed on as they come (D33).
func (s *Service) newPass() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     s.o.Store,
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Header.Del("Origin") // who may ask is decided here
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

// unavailable answers for a store that does not (D36).
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

// waited is the body of an answer, which ends in good order when a wait has
// been long enough.
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
