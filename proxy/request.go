package proxy

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"canopy/proxy/upstream"
)

// A request is what the proxy sends to members: the same bytes to each.
type request struct {
	method  string
	head    []byte // line, headers, and the body if it is small
	body    *body  // a large body; nil: it is small
	watch   bool   // the answer may take any time
	streams bool   // a stream uses the head
	tried   []*upstream.Endpoint
	fresh   bool                 // no idle connections are used any more
	silent  []*upstream.Endpoint // got it on a fresh connection, and did not answer
}

// repeatable tells whether it may be carried out twice (P23).
func (q *request) repeatable() bool { return q.method == http.MethodGet || q.method == http.MethodHead }

// proxiesMax is how many proxies a request may pass.
const proxiesMax = 8

var (
	errLoop   = errors.New("proxy: the request came back to this proxy; an advertised client URL leads here")
	errTarget = errors.New("proxy: the path has bytes that cannot be forwarded")
)

// newRequest writes the head of a request for members into b.
func (p *Proxy) newRequest(r *http.Request, b []byte) (*request, error) {
	through := r.Header[upstream.HeaderProxies]
	if len(through) > proxiesMax || slices.Contains(through, p.id) {
		return nil, errLoop
	}
	target, err := target(r)
	if err != nil {
		return nil, err
	}
	q := &request{method: r.Method, watch: isWatch(r)}
	q.head = p.appendHead(b, r, target)
	return q, nil
}

// target is the path and query as the client wrote them (P21). Over HTTP/2 they may contain bytes that end a line here.
func target(r *http.Request) (string, error) {
	t := r.RequestURI
	if !strings.HasPrefix(t, "/") {
		t = r.URL.RequestURI() // of a client that takes this for an HTTP proxy
	}
	if !strings.HasPrefix(t, "/") || r.Method == http.MethodConnect {
		return "", errTarget
	}
	for i := range len(t) {
		if t[i] <= ' ' || t[i] == 0x7f {
			return "", errTarget
		}
	}
	return t, nil
}

// isWatch tells whether the answer may come at any time, or never. A quorum read is no watch (K44).
func isWatch(r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.RawQuery, "wait") {
		return false
	}
	q := r.URL.Query()
	wait, err := strconv.ParseBool(q.Get("wait"))
	quorum, _ := strconv.ParseBool(q.Get("quorum"))
	return err == nil && wait && !quorum
}

// appendHead writes the line and the headers, without the length of the body and the empty line. net/http has checked names
// and values, so they contain no line break.
func (p *Proxy) appendHead(b []byte, r *http.Request, target string) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	named := connectionNames(r.Header)
	replaced := len(p.o.Origins) > 0
	for name, values := range r.Header {
		if isHop(name) || slices.Contains(named, name) || ownedHere(name) || replaced && name == "Origin" {
			continue
		}
		for _, value := range values {
			b = appendHeader(b, name, value)
		}
	}
	b = appendForwarded(b, r)
	for _, id := range r.Header[upstream.HeaderProxies] {
		b = appendHeader(b, upstream.HeaderProxies, id)
	}
	return appendHeader(b, upstream.HeaderProxies, p.id)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

const headerForwarded = "X-Forwarded-For"

// appendForwarded adds the client's address to those that the request came from before (P25).
func appendForwarded(b []byte, r *http.Request) []byte {
	before := r.Header[headerForwarded]
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil && len(before) == 0 {
		return b
	}
	b = append(b, headerForwarded+": "...)
	for n, each := range before {
		if n > 0 {
			b = append(b, ", "...)
		}
		b = append(b, each...)
	}
	if err == nil {
		if len(before) > 0 {
			b = append(b, ", "...)
		}
		b = append(b, host...)
	}
	return append(b, "\r\n"...)
}

// isHop tells whether a header is for one connection only (P24).
func isHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Trailers", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// ownedHere tells whether the proxy writes a header of a request itself.
func ownedHere(name string) bool {
	switch name {
	case "Content-Length", "Expect", "Host", headerForwarded, upstream.HeaderProxies:
		return true
	}
	return false
}

// connectionNames are the headers that Connection declares to be for one connection only.
func connectionNames(h http.Header) []string {
	lines := h["Connection"]
	if len(lines) == 0 || len(lines) == 1 && (lines[0] == "close" || lines[0] == "keep-alive") {
		return nil
	}
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return names
}
