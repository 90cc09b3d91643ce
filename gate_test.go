package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAClosedGateSaysSo(t *testing.T) { // F32
	var g gate
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if w := get("/v2/keys/a"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `{"message":"the member is starting`) {
		t.Errorf("a closed gate answers %d %s", w.Code, w.Body)
	}
	if w := get("/version"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"etcdcluster":"not_decided"`) {
		t.Errorf("/version of a closed gate: %d %s", w.Code, w.Body)
	}
	g.open(http.NotFoundHandler())
	if w := get("/v2/keys/a"); w.Code != http.StatusNotFound {
		t.Errorf("an open gate answers %d", w.Code)
	}
	g.leave()
	if w := get("/v2/keys/a"); w.Header().Get("Connection") != "close" {
		t.Errorf("a gate that is about to close answers %v", w.Header())
	}
}
