package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The loads do over TLS what they do without: requests in turn, streams, connections of their own, and resumed sessions.
func TestLoadsOverTLS(t *testing.T) {
	dir := t.TempDir()
	files, client, err := certify(dir)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert.Name, files.Key.Name)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "wait") {
			for range 3 {
				fmt.Fprint(w, "{}\n")
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
			return
		}
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprint(w, r.TLS != nil)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	to := target{endpoint: server.URL, tls: client}
	o := options{connections: 2, keys: 10, duration: 200 * time.Millisecond}
	for name, run := range map[string]func() (result, error){
		"put":     func() (result, error) { return runPut(t.Context(), to, o) },
		"get":     func() (result, error) { return runGet(t.Context(), to, o) },
		"connect": func() (result, error) { return runConnect(t.Context(), to, o) },
		"resume":  func() (result, error) { return runResume(t.Context(), to, o) },
	} {
		r, err := run()
		if err != nil || r.Requests == 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		again, counted := r.Extra["resumed"]
		if counted && (again > 0) != (name == "resume") {
			t.Errorf("%s: %v of %d sessions were resumed", name, again, r.Requests)
		}
	}
	streams, err := openStreams(t.Context(), to, 5, "/v2/keys/a?wait=true&stream=true")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := streams.wait(t.Context(), 15); got != 15 || err != nil {
		t.Errorf("%d events came, want 15: %v", got, err)
	}
	if err := streams.close(); err != nil {
		t.Error(err)
	}
	if _, err := runResume(t.Context(), target{endpoint: server.URL}, o); err == nil {
		t.Error("sessions without TLS are resumed")
	}
}

// An endpoint of https is verified with the files that are given.
func TestAnEndpointIsVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }))
	t.Cleanup(server.Close)
	c, err := security{}.config()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(target{endpoint: server.URL, tls: c}); err == nil {
		t.Error("a server of an authority that nobody trusts is accepted")
	}
	if _, err := (security{caFile: "nope"}).config(); err == nil || !strings.Contains(err.Error(), "--ca-file nope: ") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := (security{certFile: "c"}).config(); err == nil {
		t.Error("a certificate without a key is accepted")
	}
}
