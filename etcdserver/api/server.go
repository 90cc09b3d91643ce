package api

import (
	"context"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"canopy/internal/memory"
)

// Limits bound what a connection may ask of the server before a handler sees it. The zero value means the defaults.
type Limits struct {
	Memory        *memory.Budget // for requests of HTTP/2; default: no bound
	HeaderBytes   int            // request line and headers; default 64 KiB (K19)
	HeaderTimeout time.Duration  // for a request's headers and a small body to arrive; default 10 s
	IdleTimeout   time.Duration  // for the next request on a kept connection; default 5 min
	HTTP2Disabled bool
	HTTP2Streams  int // requests at once on one HTTP/2 connection; default 250

	ErrorLog  func(line string)              // what net/http has to say, TLS failures above all; default: nothing is kept
	ConnState func(net.Conn, http.ConnState) // see Budget; default: none

	ConnContext func(context.Context, net.Conn) context.Context // of a connection's requests; default: none
}

// The defaults of Limits.
const (
	defaultHeaderBytes   = 64 << 10
	defaultHeaderTimeout = 10 * time.Second
	defaultIdleTimeout   = 5 * time.Minute
	defaultHTTP2Streams  = 250
)

func (l Limits) withDefaults() Limits {
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = defaultHeaderBytes
	}
	if l.HeaderTimeout <= 0 {
		l.HeaderTimeout = defaultHeaderTimeout
	}
	if l.IdleTimeout <= 0 {
		l.IdleTimeout = defaultIdleTimeout
	}
	if l.HTTP2Streams <= 0 {
		l.HTTP2Streams = defaultHTTP2Streams
	}
	if l.ErrorLog == nil {
		l.ErrorLog = func(string) {}
	}
	return l
}

// NewHTTPServer makes the server of a client listener: HTTP/1.1, and HTTP/2 with TLS or, by prior knowledge, without.
// Its time-outs cover headers, small bodies and idling; the handler lifts them for what may take longer, and bounds the
// sending of large answers itself. A deadline for each small one would cost two hundredths of the speed of reads.
func NewHTTPServer(handler http.Handler, l Limits) *http.Server {
	l = l.withDefaults()
	if l.Memory != nil && !l.HTTP2Disabled {
		handler = l.countStreams(handler)
	}
	s := &http.Server{
		Handler:           handler,
		MaxHeaderBytes:    l.HeaderBytes,
		ReadHeaderTimeout: l.HeaderTimeout,
		ReadTimeout:       l.HeaderTimeout,
		IdleTimeout:       l.IdleTimeout,
		ConnState:         l.ConnState,
		ConnContext:       l.ConnContext,
		ErrorLog:          log.New(lineWriter(l.ErrorLog), "", 0),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          l.HTTP2Streams,
			MaxReadFrameSize:              64 << 10,
			MaxReceiveBufferPerConnection: http2BodyBytes,
			MaxReceiveBufferPerStream:     http2BodyBytes,
			SendPingTimeout:               30 * time.Second, // finds dead connections, as keep-alive does for HTTP/1
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              60 * time.Second,
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(!l.HTTP2Disabled)
	s.Protocols.SetUnencryptedHTTP2(!l.HTTP2Disabled)
	return s
}

// IsPlain tells whether a request is answered soon, whether its client stays or not: a request of keys that is no watch.
// Package http1 may serve it. Parameters may hide behind escapes, which nobody but a watch has any use for here.
func IsPlain(r *http.Request) bool {
	query := r.URL.RawQuery
	return strings.HasPrefix(r.URL.Path, keysPrefix) && !strings.Contains(query, "wait") && !strings.Contains(query, "%")
}

// lineWriter gives each line that a log.Logger writes to a function.
type lineWriter func(string)

func (f lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	if n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	f(string(b))
	return n, nil
}
