package api

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"canopy/etcdserver/api/form"
	"canopy/store"
)

// nullWriter takes an answer like http1, and drops it, at the lowest cost.
type nullWriter struct {
	header http.Header
	lines  []byte
}

func (w *nullWriter) reset() {
	clear(w.header)
	w.lines = w.lines[:0]
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) HeaderLines() *[]byte        { return &w.lines }
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *nullWriter) WriteHeader(int)             {}

// replay is a body that can be read again.
type replay struct{ *strings.Reader }

func (replay) Close() error { return nil }

func benchmarkRequest(b *testing.B, method, target, form string) {
	h := New(newSoloMember(store.Options{}), Options{})
	value := strings.Repeat("x", 64)
	h.ServeHTTP(&nullWriter{header: http.Header{}}, request(b, "PUT", "/v2/keys/k", "value="+value))
	r := request(b, method, target, form)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		w := &nullWriter{header: http.Header{}}
		req := *r
		body := replay{strings.NewReader(form)}
		req.Body = body
		for p.Next() {
			body.Seek(0, io.SeekStart)
			w.reset()
			h.ServeHTTP(w, &req)
		}
	})
}

// request makes a request like the server.
func request(tb testing.TB, method, target, form string) *http.Request {
	tb.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		tb.Fatal(err)
	}
	r := &http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: "127.0.0.1:2379", RemoteAddr: "127.0.0.1:1",
		Header: http.Header{}, Body: http.NoBody,
	}
	if form != "" {
		r.Header.Set("Content-Type", formType)
		r.ContentLength = int64(len(form))
		r.Body = replay{strings.NewReader(form)}
	}
	return r
}

func BenchmarkGet(b *testing.B) { benchmarkRequest(b, "GET", "/v2/keys/k", "") }

func BenchmarkGetQuorum(b *testing.B) { benchmarkRequest(b, "GET", "/v2/keys/k?quorum=true", "") }

func BenchmarkGetMissing(b *testing.B) { benchmarkRequest(b, "GET", "/v2/keys/missing", "") }

// BenchmarkPut includes encoding, decoding and applying the command in the test member.
func BenchmarkPut(b *testing.B) {
	benchmarkRequest(b, "PUT", "/v2/keys/k", "value="+strings.Repeat("x", 64))
}

// BenchmarkPutRefused is a PUT without the store: parsing, and the answer.
func BenchmarkPutRefused(b *testing.B) {
	benchmarkRequest(b, "PUT", "/v2/keys/k", "value="+strings.Repeat("x", 64)+"&prevExist=true&ttl=x")
}

func BenchmarkParseForm(b *testing.B) {
	text := []byte("value=" + strings.Repeat("x", 64) + "&ttl=60&prevExist=true")
	b.ReportAllocs()
	for b.Loop() {
		var f form.Fields
		if err := form.Scan(&f, text); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Parse("PUT"); err != nil {
			b.Fatal(err)
		}
	}
}
