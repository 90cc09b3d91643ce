package http1

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A request holds one connection's requests, one after the other.
type request struct {
	origin http.Request // the fields that all of them share
	r      http.Request
	url    url.URL
	body   body
	fields fields
}

// begin sets the fields that all requests of a connection share.
func (q *request) begin(ctx context.Context, remoteAddr string) {
	q.origin = *(&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: remoteAddr}).WithContext(ctx)
}

// parse reads the request that is the first n bytes of b; nil if it is not plain, or not complete. The result is valid
// until the next call.
func (q *request) parse(b []byte) (r *http.Request, n int) {
	lineEnd := bytes.Index(b, crlf)
	if lineEnd < 0 {
		return nil, 0
	}
	method, path, query, ok := parseLine(b[:lineEnd])
	if !ok {
		return nil, 0
	}
	fieldsEnd := bytes.Index(b[lineEnd:], crlfcrlf)
	if fieldsEnd <= 0 { // at least Host is needed
		return nil, 0
	}
	if !q.fields.take(b[lineEnd+len(crlf) : lineEnd+fieldsEnd]) {
		return nil, 0
	}
	head := lineEnd + fieldsEnd + len(crlfcrlf)
	if len(b)-head < q.fields.length {
		return nil, 0
	}
	q.url = url.URL{Path: path, RawQuery: query}
	q.r = q.origin
	q.r.Method, q.r.URL, q.r.RequestURI = method, &q.url, path
	if query != "" {
		q.r.RequestURI = path + "?" + query
	}
	q.r.Host, q.r.Header = q.fields.host, q.fields.header
	q.r.ContentLength, q.r.Body = int64(q.fields.length), http.NoBody
	if q.fields.length > 0 {
		q.body.rest = b[head : head+q.fields.length]
		q.r.Body = &q.body
	}
	return &q.r, head + q.fields.length
}

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// parseLine reads a request line. Its strings are copies.
func parseLine(line []byte) (method, path, query string, ok bool) {
	space := bytes.IndexByte(line, ' ')
	if space < 0 {
		return "", "", "", false
	}
	method = plainMethod(line[:space])
	target, isHTTP11 := bytes.CutSuffix(line[space+1:], []byte(" HTTP/1.1"))
	if method == "" || !isHTTP11 || len(target) == 0 || target[0] != '/' {
		return "", "", "", false
	}
	mark := bytes.IndexByte(target, '?')
	if mark < 0 {
		mark = len(target)
	}
	if !allAre(target[:mark], isPathByte) || mark == len(target)-1 || !allAre(target[mark:], isQueryByte) {
		return "", "", "", false
	}
	text := string(target)
	return method, text[:mark], text[min(mark+1, len(text)):], true
}

// plainMethod gives the name of a method that may be plain, or "".
func plainMethod(b []byte) string {
	switch string(b) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPut:
		return http.MethodPut
	case http.MethodPost:
		return http.MethodPost
	case http.MethodDelete:
		return http.MethodDelete
	case http.MethodHead:
		return http.MethodHead
	}
	return ""
}

func allAre[T ~string | ~[]byte](text T, is func(byte) bool) bool {
	for i := range len(text) {
		if !is(text[i]) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isPathByte tells whether a byte of a path needs no escape for any reader or writer (RFC 3986 §3.3, without those that
// some escape).
func isPathByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-_.~/:@&=+$", c) >= 0
}

// isQueryByte tells whether a byte is plain in a query and the mark before it. The handler decodes escapes.
func isQueryByte(c byte) bool { return '!' <= c && c <= '~' && c != '#' }

// fields are the headers of the latest request. Clients send the same ones again and again, so the same block is not
// parsed again, unless a handler has changed its map.
type fields struct {
	block  []byte // that they were parsed from
	header http.Header
	read   []field // the contents of header, before a handler could change it
	host   string
	length int // of the body
}

type field struct {
	name   string
	values []string
}

// take parses a block of header lines, without the end of the last line. It tells whether all of them are plain.
func (f *fields) take(block []byte) bool {
	if f.header != nil && bytes.Equal(block, f.block) && f.unchanged() {
		return true
	}
	f.block = append(f.block[:0], block...)
	f.header, f.host, f.length = nil, "", 0
	header := make(http.Header, 8)
	for line := range strings.SplitSeq(string(block), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " ")
		if !ok || !isToken(name) || !isPlainValue(value) {
			return false
		}
		name = http.CanonicalHeaderKey(name)
		if !f.apply(name, value, header[name] != nil) {
			return false
		}
		if name != "Host" {
			header[name] = append(header[name], value)
		}
	}
	if f.host == "" {
		return false
	}
	f.header, f.read = header, f.read[:0]
	for name, values := range header {
		f.read = append(f.read, field{name, slices.Clone(values)})
	}
	return true
}

// unchanged tells whether the header is as it was parsed.
func (f *fields) unchanged() bool {
	if len(f.header) != len(f.read) {
		return false
	}
	for _, each := range f.read {
		if !slices.Equal(f.header[each.name], each.values) {
			return false
		}
	}
	return true
}

// apply applies a header that is about the request itself. False if the request is one for net/http.
func (f *fields) apply(name, value string, again bool) bool {
	switch name {
	case "Host":
		again = f.host != ""
		f.host = value
		return !again && value != "" && allAre(value, isHostByte)
	case "Content-Length":
		length, ok := plainLength(value)
		f.length = length
		return ok && !again
	case "Connection":
		return strings.EqualFold(value, "keep-alive")
	case "Transfer-Encoding", "Trailer", "Te", "Expect", "Upgrade", "Pragma":
		return false
	}
	return true
}

// plainLength parses the length of a body that fits the buffer.
func plainLength(text string) (n int, ok bool) {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = 10*n + int(text[i]-'0')
	}
	return n, 0 < len(text) && len(text) <= 4
}

func isHostByte(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-._:[]", c) >= 0 }

// isToken tells whether text can be the name of a header (RFC 9110 §5.6.2).
func isToken(text string) bool {
	return text != "" && allAre(text, func(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 })
}

func isPlainValue(value string) bool {
	return allAre(value, func(c byte) bool { return ' ' <= c && c <= '~' })
}

// A body is that of a request that has arrived completely.
type body struct{ rest []byte }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.rest = nil
	return nil
}
