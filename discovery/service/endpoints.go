package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// storeHost is the host in requests to the store, whatever its hosts are.
const storeHost = "localhost"

// Bounds of an exchange with one endpoint. An answer begins at once, also that to
// a wait.
const (
	dialTimeout   = 2 * time.Second
	headerTimeout = 3 * time.Second
	idlePerHost   = 64
)

// Endpoints is an http.RoundTripper that sends requests to one of several
// members of a cluster. It uses one as long as that serves. A write goes to another
// one only if the first did not get it, or says that it did nothing.
type Endpoints struct {
	hosts     []*url.URL
	transport *http.Transport
	at        atomic.Int64 // the one in use
}

// NewEndpoints takes client URLs, such as http://10.0.0.1:2379; at least one.
func NewEndpoints(urls []string) (*Endpoints, error) {
	e := &Endpoints{transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       time.Minute,
	}}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is no endpoint; allowed: http://host:port or https://host:port", text)
		}
		e.hosts = append(e.hosts, u)
	}
	if len(e.hosts) == 0 {
		return nil, errors.New("there are no endpoints")
	}
	return e, nil
}

// Run waits until ctx ends, and closes the connections.
func (e *Endpoints) Run(ctx context.Context) error {
	<-ctx.Done()
	return e.Close()
}

// Close closes idle connections.
func (e *Endpoints) Close() error {
	e.transport.CloseIdleConnections()
	return nil
}

// RoundTrip sends a request, whose GetBody must be set if it has a body.
func (e *Endpoints) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	first := e.at.Load()
	var failures []error
	for n := range int64(len(e.hosts)) {
		at := (first + n) % int64(len(e.hosts))
		last := n == int64(len(e.hosts))-1
		response, err, again := e.try(r, e.hosts[at])
		if err == nil && (last || !again) {
			e.at.CompareAndSwap(first, at)
			return response, nil
		}
		if err == nil {
			io.Copy(io.Discard, io.LimitReader(response.Body, answerMax)) // so that the connection can be used again
			err = errors.Join(fmt.Errorf("it answers %s", response.Status), response.Body.Close())
		}
		failures = append(failures, fmt.Errorf("%s: %w", e.hosts[at].Host, err))
		if !again || r.Context().Err() != nil {
			break
		}
	}
	e.at.CompareAndSwap(first, (first+1)%int64(len(e.hosts)))
	return nil, errors.Join(failures...)
}

// try sends a request to one endpoint. again tells whether another one may get
// it, too.
func (e *Endpoints) try(r *http.Request, host *url.URL) (response *http.Response, err error, again bool) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	out := r.Clone(httptrace.WithClientTrace(r.Context(), trace))
	out.URL.Scheme, out.URL.Host, out.Host = host.Scheme, host.Host, host.Host
	if r.GetBody != nil {
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err, false
		}
	}
	response, err = e.transport.RoundTrip(out)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if err != nil {
		return nil, err, reads || !sent.Load()
	}
	switch response.StatusCode {
	case http.StatusServiceUnavailable:
		again = true // it did nothing
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError:
		again = reads
	}
	return response, nil, again
}
