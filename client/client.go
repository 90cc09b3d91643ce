// Package client talks to a cluster that speaks the etcd v2 API: Canopy, or etcd itself.
//
//	c, err := client.New(client.Config{Endpoints: []string{"http://127.0.0.1:2379"}})
//	r, err := c.Set(ctx, "/greeting", "hello", client.SetOptions{TTL: time.Minute})
//
// A Client uses one of its endpoints as long as that serves, because a member shows its own clients what they wrote, and the
// next one otherwise. It repeats reads there. It repeats a write only if no byte of it was sent, or the endpoint said that it
// did nothing. A write whose answer is lost ends with ErrUnknownOutcome, and the caller decides whether to read or to try
// again. So the Client never makes a write twice.
//
// A Watcher is a position in the history of changes. Each event advances it. It survives failures of connections, members and
// leaders, without losing or repeating an event.
//
// Errors of cluster and network are of four kinds: *Error is an answer of the API, *AnswerError an answer that is not of the
// API, *ClusterError tells what each endpoint did when none of them succeeded, and the error of the context is returned when
// that ended. All work with errors.Is and errors.As.
//
// Every method takes a context that ends it; nothing runs between calls. The Client follows redirects only if
// Config.Redirects is set, and reads no environment variables.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config tells where a cluster is, and how to talk to it. Zero fields have the defaults below.
type Config struct {
	Endpoints []string // client URLs, http or https, without a path; at least one
	KeysPath  string   // the prefix of keys in URLs; "/" is the top; default /v2/keys

	Username, Password string // sent with every request, unless both are empty
	Token              string // of a user, sent instead if it is not empty

	// Redirects makes reads follow up to ten redirects, on the host of the endpoint, and from https only to https. Default, and
	// for all others: a redirect is an answer that is not of the API.
	Redirects bool

	AnswerBytes int64 // the largest answer that is read; default 256 MiB

	// Transport carries the requests. Default: own connections, with the fields below.
	Transport     http.RoundTripper
	TLS           *tls.Config   // for https; default: the system's CAs, no certificate
	DialTimeout   time.Duration // to make a connection; default 3 s
	TLSTimeout    time.Duration // for its TLS handshake; default DialTimeout
	HeaderTimeout time.Duration // for an answer to begin; default 10 s, more than the 7 s a member waits for its quorum; less than 0: none

	// Proxy chooses the HTTP proxy of a request, as in http.Transport. Default: none, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
}

// The defaults of Config.
const (
	defaultKeysPath      = "/v2/keys"
	defaultDialTimeout   = 3 * time.Second
	defaultHeaderTimeout = 10 * time.Second
	defaultAnswerBytes   = 256 << 20
)

// Idle connections are closed long before a member closes them, after 5 minutes: a request on a connection that is being
// closed is lost.
const (
	idleTimeout    = time.Minute
	idlePerAddress = 64
)

func (c Config) withDefaults() Config {
	if c.KeysPath == "" {
		c.KeysPath = defaultKeysPath
	}
	c.KeysPath = strings.TrimSuffix(c.KeysPath, "/")
	if c.DialTimeout <= 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.TLSTimeout <= 0 {
		c.TLSTimeout = c.DialTimeout
	}
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = defaultHeaderTimeout
	}
	if c.AnswerBytes <= 0 {
		c.AnswerBytes = defaultAnswerBytes
	}
	return c
}

// A Client is used by any number of goroutines.
type Client struct {
	config Config
	http   *http.Client

	// mu guards the fields below, for the length of one method.
	mu        sync.Mutex
	endpoints []string // never empty, without a slash at the end; the slice is replaced, not changed
	at        int      // the one in use
}

// New makes a client. It connects to nothing.
func New(c Config) (*Client, error) {
	endpoints, err := parseEndpoints(c.Endpoints)
	if err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if _, err := url.Parse(c.KeysPath); err != nil || strings.ContainsAny(c.KeysPath, "?#") || c.KeysPath != "" && c.KeysPath[0] != '/' {
		return nil, fmt.Errorf("client: the path of the keys, %q, is not like %s", c.KeysPath, defaultKeysPath)
	}
	h := &http.Client{Transport: c.Transport}
	if h.Transport == nil {
		h.Transport = c.transport()
	}
	h.CheckRedirect = c.redirected
	return &Client{config: c, http: h, endpoints: endpoints}, nil
}

// redirected tells whether to go on with next after the requests before.
func (c Config) redirected(next *http.Request, before []*http.Request) error {
	const most = 10
	first := before[0]
	reads := first.Method == http.MethodGet || first.Method == http.MethodHead
	same := next.URL.Hostname() == first.URL.Hostname() && (next.URL.Scheme == first.URL.Scheme || next.URL.Scheme == "https")
	if !c.Redirects || !reads || !same || len(before) > most {
		return http.ErrUseLastResponse
	}
	return nil
}

// NewTransport makes the transport that a client with these settings has by default, for who wants to see its requests.
func NewTransport(c Config) *http.Transport { return c.withDefaults().transport() }

func (c Config) transport() *http.Transport {
	return &http.Transport{
		Proxy:                 c.Proxy,
		DialContext:           (&net.Dialer{Timeout: c.DialTimeout}).DialContext,
		TLSClientConfig:       c.TLS,
		TLSHandshakeTimeout:   c.TLSTimeout,
		ResponseHeaderTimeout: c.HeaderTimeout,
		MaxIdleConnsPerHost:   idlePerAddress,
		IdleConnTimeout:       idleTimeout,
		DisableCompression:    true, // compression costs members more than it saves
	}
}

// Close closes idle connections. It does not end calls; their contexts do.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Endpoints are the client URLs, with the one that is tried first at the beginning.
func (c *Client) Endpoints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(c.endpoints[c.at:], c.endpoints[:c.at])
}

// SetEndpoints replaces the client URLs. The one in use stays in use if it is among them.
func (c *Client) SetEndpoints(endpoints []string) error {
	parsed, err := parseEndpoints(endpoints)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = max(0, slices.Index(parsed, c.endpoints[c.at]))
	c.endpoints = parsed
	return nil
}

// leave moves to the endpoint after the named one, if that is still in use.
func (c *Client) leave(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endpoints[c.at] == endpoint {
		c.at = (c.at + 1) % len(c.endpoints)
	}
}

// prefer makes an endpoint the one in use, if it is still in the list.
func (c *Client) prefer(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := slices.Index(c.endpoints, endpoint); at >= 0 {
		c.at = at
	}
}

// parseEndpoints checks URLs, and normalizes them.
func parseEndpoints(endpoints []string) ([]string, error) {
	if len(endpoints) == 0 {
		return nil, errors.New("client: no endpoints; give at least one, like http://127.0.0.1:2379")
	}
	var parsed []string
	for _, text := range endpoints {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("client: endpoint %q: %w", text, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("client: endpoint %q is not like http://127.0.0.1:2379", text)
		}
		if text = u.Scheme + "://" + u.Host; !slices.Contains(parsed, text) {
			parsed = append(parsed, text)
		}
	}
	return parsed, nil
}
