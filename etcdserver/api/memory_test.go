package api

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"canopy/internal/httpserver"
	"canopy/internal/memory"
)

// Large requests get 503 and a Retry-After, and small ones are served.
func TestWithoutMemoryRequestsAreRefused(t *testing.T) {
	budget := memory.New(1<<20, nil)
	s := newSite(t, Options{Memory: budget}, httpserver.Options{})
	form := "value=" + strings.Repeat("x", 100_000)
	if a := s.do("PUT", "/v2/keys/large?noValueOnSuccess=true", form); a.status != 201 {
		t.Fatalf("a large write = %d %s", a.status, a.body)
	}
	ballast := budget.Max() - 8*httpserver.ConnectionBytes - budget.Used()
	budget.TakeAnyway(ballast)
	refused := func(a reply) {
		t.Helper()
		if a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, `"errorCode":300`) || !strings.Contains(a.body, memory.ErrUsedUp.Error()) {
			t.Errorf("without memory: %d %v %s", a.status, a.header, a.body)
		}
	}
	refused(s.do("PUT", "/v2/keys/large", form))
	refused(s.do("GET", "/v2/keys/large", ""))
	for _, a := range []reply{s.do("PUT", "/v2/keys/small", "value=1"), s.do("DELETE", "/v2/keys/small", ""), s.do("GET", "/health", ""), s.do("GET", "/v2/members", ""), s.do("HEAD", "/v2/keys/large", "")} {
		if a.status > 201 {
			t.Errorf("a small request = %d %s", a.status, a.body)
		}
	}
	response, err := s.client(true).Get("http://" + s.addr + "/health")
	if err == nil { // the connection may be refused, too
		response.Body.Close()
	}
	budget.Give(ballast)
	if a := s.do("GET", "/v2/keys/large", ""); a.status != 200 || len(a.body) < 100_000 {
		t.Errorf("with memory again: %d, %d bytes", a.status, len(a.body))
	}
}

// TestAllMemoryIsGivenBack uses memory in all ways, finishes some requests and cuts the others.
func TestAllMemoryIsGivenBack(t *testing.T) {
	budget := memory.New(1<<30, nil)
	s := newSite(t, Options{Memory: budget, WriteTimeout: time.Second}, httpserver.Options{})
	form := "value=" + strings.Repeat("\x01", 300_000)
	s.do("PUT", "/v2/keys/d/large", form)
	const host = " HTTP/1.1\r\nHost: localhost\r\n"
	header := strings.Repeat("X-A: b\r\n", 4000)
	put := fmt.Sprintf("PUT /v2/keys/d/large%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n", host, formType, len(form))
	for _, whole := range []string{
		"GET /v2/keys/d/large" + host + header + "\r\n",
		"GET /v2/keys/d" + host + "\r\n",
		"GET /v2/keys/d?wait=true&stream=true&recursive=true" + host + header + "\r\n",
		"GET /v2/keys/d?wait=true&recursive=true" + host + "\r\n",
		put + form,
	} {
		for _, part := range []string{whole, whole[:len(whole)-1], whole[:len(whole)/2]} {
			conn := s.dial(part)
			if len(part) < len(whole) {
				conn.Close()
				continue
			}
			// The client reads a little, or nothing, until the end of the test.
			_, _ = io.ReadFull(bufio.NewReaderSize(conn, 16), make([]byte, 10))
		}
	}
	client := s.client(true)
	for range 3 {
		response, err := client.Get("http://" + s.addr + "/v2/keys/d?wait=true&stream=true&recursive=true")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
	}
	response, err := client.Post("http://"+s.addr+"/v2/keys/d", formType, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	const http2Bytes = 320 << 10 // of a connection with bodies
	if used := budget.Used(); used < 10*httpserver.ConnectionBytes+http2Bytes {
		t.Errorf("only %d bytes are in use", used)
	}
	s.server.Close()
	s.handler.endWatches()
	eventually(t, "all memory to be given back", func() bool { return budget.Used() == 0 })
}
