// Package httpserver is the HTTP server of every port: of clients, of peers, of metrics, of the discovery service.
//
//	Listen → Budget or Pool → http1 → handler        requests of the fast path
//	                             ↘ net/http → handler  all others, HTTP/2
//	                                             ↘ hijack  streams that wait for long
//
// A Budget counts connections and the memory that they take. It keeps their deadlines, slows HTTP/2 connections that
// send too many frames, and finds the idle connection to close for a new one. A Pool is simpler: it has a fixed size,
// and a new connection always gets in. New makes the server of one listener: package http1 serves the requests of the
// fast path, and net/http all others, with the same handler and time-outs.
//
// Handlers know nothing of this package. Those that keep a connection for a stream use package hijack.
package httpserver

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"time"

	"canopy/internal/httpserver/http1"
	"canopy/internal/memory"
)

// Options bound what a connection may ask of the server before a handler sees it. The zero value means the defaults.
type Options struct {
	Memory        *memory.Budget // for requests of HTTP/2; default: no bound
	HeaderBytes   int            // request line and headers; default 64 KiB (K19)
	HeaderTimeout time.Duration  // for a request's headers and a small body to arrive; default 10 s
	IdleTimeout   time.Duration  // for the next request on a kept connection; default 5 min
	HTTP2Disabled bool

	// TLS is for every connection: its listener gives them without. It offers HTTP/2 unless HTTP2Disabled. Default: no TLS,
	// but for connections that are a *tls.Conn.
	TLS              *tls.Config
	HandshakeTimeout time.Duration         // of TLS; default 10 s (T20)
	HandshakeFailed  func(net.Conn, error) // called for each handshake that fails, with an http1.ErrPlainHTTP among others; default: none

	// Fast tells which requests package http1 may serve: those that are answered soon, whether the client stays or not, and
	// those whose connection the handler hijacks at once.
	// Default: none.
	Fast func(*http.Request) bool

	HTTP2Streams int // requests at once on one HTTP/2 connection; default 250

	ErrorLog  func(line string)              // called for each error of net/http, mostly failures of TLS; default: none
	ConnState func(net.Conn, http.ConnState) // see Budget; default: none

	ConnContext func(context.Context, net.Conn) context.Context // of a connection's requests; default: none
}

// The defaults of Options.
const (
	defaultHeaderBytes   = 64 << 10
	defaultHeaderTimeout = 10 * time.Second
	defaultIdleTimeout   = 5 * time.Minute
	defaultHTTP2Streams  = 250
)

func (o Options) withDefaults() Options {
	if o.HeaderBytes <= 0 {
		o.HeaderBytes = defaultHeaderBytes
	}
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = defaultHeaderTimeout
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdleTimeout
	}
	if o.HTTP2Streams <= 0 {
		o.HTTP2Streams = defaultHTTP2Streams
	}
	if o.ErrorLog == nil {
		o.ErrorLog = func(string) {}
	}
	if o.Fast == nil {
		o.Fast = func(*http.Request) bool { return false }
	}
	return o
}

// New makes the server of a listener: HTTP/1.1, and HTTP/2 with TLS or, by prior knowledge, without. Its time-outs cover
// headers, small bodies and idle connections. The handler removes them from a request that may take longer, and bounds the
// time to send large answers itself. A deadline for each small answer would make reads two percent slower.
func New(handler http.Handler, o Options) *http1.Server {
	o = o.withDefaults()
	if o.Memory != nil && !o.HTTP2Disabled {
		handler = o.countStreams(handler)
	}
	s := &http.Server{
		Handler:           handler,
		MaxHeaderBytes:    o.HeaderBytes,
		ReadHeaderTimeout: o.HeaderTimeout,
		ReadTimeout:       o.HeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		ConnState:         o.ConnState,
		ConnContext:       o.ConnContext,
		ErrorLog:          log.New(lineWriter(o.ErrorLog), "", 0),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          o.HTTP2Streams,
			MaxReadFrameSize:              64 << 10,
			MaxReceiveBufferPerConnection: http2BodyBytes,
			MaxReceiveBufferPerStream:     http2BodyBytes,
			SendPingTimeout:               30 * time.Second, // finds dead connections, as keep-alive does for HTTP/1
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              60 * time.Second,
		},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(!o.HTTP2Disabled)
	s.Protocols.SetUnencryptedHTTP2(!o.HTTP2Disabled)
	server := http1.New(s, o.Fast)
	server.UseTLS(http1.TLS{
		Config: o.secure(), Timeout: o.HandshakeTimeout, Failed: o.HandshakeFailed,
		Received: decrypted, Client: ClientOf,
	})
	return server
}

// secure is TLS with the protocols of HTTP that are served.
func (o *Options) secure() *tls.Config {
	if o.TLS == nil {
		return nil
	}
	c := o.TLS.Clone()
	c.NextProtos = []string{"h2", "http/1.1"}
	if o.HTTP2Disabled {
		c.NextProtos = c.NextProtos[1:]
	}
	return c
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
