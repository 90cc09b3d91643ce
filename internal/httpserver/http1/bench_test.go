package http1

import (
	"bufio"
	"net"
	"net/http"
	"testing"
)

// BenchmarkRequest is one small request over one connection, here and by net/http.
func BenchmarkRequest(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = contentType
		var b [16]byte
		n, _ := r.Body.Read(b[:])
		w.Write(b[:n])
	})
	b.Run("here", func(b *testing.B) { // each run has a server of its own, since its end closes it
		s := New(&http.Server{Handler: handler}, func(*http.Request) bool { return true })
		benchmarkRequest(b, serve(b, s.Serve, s.Close))
	})
	b.Run("net-http", func(b *testing.B) {
		s := &http.Server{Handler: handler}
		benchmarkRequest(b, serve(b, s.Serve, s.Close))
	})
}

var contentType = []string{"text/plain"}

func benchmarkRequest(b *testing.B, addr string) {
	conn, err := net.Dial("unix", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	text := []byte("PUT /v2/keys/a HTTP/1.1\r\nHost: localhost:2379\r\nContent-Length: 5\r\n\r\nvalue")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(text); err != nil {
			b.Fatal(err)
		}
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := in.Discard(len("value")); err != nil {
			b.Fatal(err)
		}
	}
}
