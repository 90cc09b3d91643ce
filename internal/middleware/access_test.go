package middleware

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTheStatusInTheAccessLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  int
	}{
		{"nothing is written", func(http.ResponseWriter, *http.Request) {}, 200},
		{"only a body", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }, 200},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503},
		{"two statuses", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(500) }, 404},
		{"after an informational one", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, 201},
		{"cut before the status", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		{"cut in the body", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")); panic(http.ErrAbortHandler) }, 200},
	} {
		told := []Access{}
		func() {
			defer func() { _ = recover() }()
			Log(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil), c.serve, func(a Access) { told = append(told, a) })
		}()
		if len(told) != 1 || told[0].Status != c.want {
			t.Errorf("S38: %s: told %+v, want status %d", c.name, told, c.want)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	for cluster, want := range map[string]string{
		"2.3.0": `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`,
		"":      `{"etcdserver":"2.3.8","etcdcluster":"not_decided"}`,
	} {
		if got := string(VersionJSON("2.3.8", cluster)); got != want {
			t.Errorf("S19: VersionJSON of %q = %s, want %s", cluster, got, want)
		}
	}
}
