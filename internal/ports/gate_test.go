package ports

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends a request to a gate, and gives the answer and how long it took.
func ask(ctx context.Context, g *Gate, path string) (*httptest.ResponseRecorder, time.Duration) {
	w, begun := httptest.NewRecorder(), time.Now()
	g.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return w, time.Since(begun)
}

func TestAClosedGateSaysSo(t *testing.T) { // F32
	var g Gate
	get := func(path string) *httptest.ResponseRecorder {
		w, _ := ask(t.Context(), &g, path)
		return w
	}
	if w := get("/v2/keys/a"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `{"message":"the member is starting`) || w.Header().Get("Retry-After") != "1" {
		t.Errorf("a closed gate answers %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := get("/version"); w.Code != http.StatusOK || w.Body.String() != `{"etcdserver":"2.3.8","etcdcluster":"not_decided"}` {
		t.Errorf("/version of a closed gate: %d %s", w.Code, w.Body)
	}
	if w := get("/health"); w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(w.Body.String(), `{"health": "false", "reason": "the member is starting`) || !json.Valid(w.Body.Bytes()) {
		t.Errorf("/health of a closed gate: %d %s", w.Code, w.Body)
	}
	g.early = http.RedirectHandler("/", http.StatusSeeOther)
	if w := get("/metrics"); w.Code != http.StatusSeeOther {
		t.Errorf("/metrics of a closed gate: %d %s", w.Code, w.Body)
	}
	g.Open(http.NotFoundHandler())
	if w := get("/v2/keys/a"); w.Code != http.StatusNotFound {
		t.Errorf("an open gate answers %d", w.Code)
	}
	g.leave()
	if w := get("/v2/keys/a"); w.Header().Get("Connection") != "close" {
		t.Errorf("a gate that is about to close answers %v", w.Header())
	}
}

// TestRequestsWaitForTheGate: they wait for as long as a start usually takes.
func TestRequestsWaitForTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const grace = 5 * time.Second
		var g Gate
		g.hold(grace, time.Second)
		for _, path := range []string{"/health", "/version", "/metrics"} {
			if _, took := ask(t.Context(), &g, path); took != 0 {
				t.Errorf("%s waits %v", path, took)
			}
		}
		time.AfterFunc(time.Second, func() { g.Open(http.NotFoundHandler()) })
		if w, took := ask(t.Context(), &g, "/v2/keys/a"); w.Code != http.StatusNotFound || took != time.Second {
			t.Errorf("a gate that opens after a second answers %d after %v", w.Code, took)
		}
		var late, left Gate
		late.hold(grace, time.Second)
		<-time.After(2 * time.Second)
		if w, took := ask(t.Context(), &late, "/v2/keys/a"); w.Code != 503 || w.Header().Get("Retry-After") == "" || took != 3*time.Second {
			t.Errorf("two seconds after a start that takes long: %d after %v, want 503 after the rest of %v", w.Code, took, grace)
		}
		if w, took := ask(t.Context(), &late, "/v2/keys/a"); w.Code != 503 || took != 0 {
			t.Errorf("when the time is over: %d after %v", w.Code, took)
		}
		left.hold(grace, time.Second)
		time.AfterFunc(time.Second, left.leave)
		if w, took := ask(t.Context(), &left, "/v2/keys/a"); w.Code != 503 || w.Header().Get("Connection") != "close" || took != time.Second {
			t.Errorf("a process that ends before it serves: %d after %v", w.Code, took)
		}
	})
}

// TestFewRequestsWaitForTheGate: their number is bounded, and clients that leave make room.
func TestFewRequestsWaitForTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.hold(time.Minute, time.Second)
		gone, leave := context.WithCancel(t.Context())
		for range heldMax {
			go ask(gone, &g, "/v2/keys/a")
		}
		synctest.Wait()
		if w, took := ask(t.Context(), &g, "/v2/keys/a"); w.Code != 503 || took != 0 {
			t.Errorf("one more than may wait: %d after %v", w.Code, took)
		}
		leave()
		synctest.Wait()
		time.AfterFunc(time.Second, func() { g.Open(http.NotFoundHandler()) })
		if w, _ := ask(t.Context(), &g, "/v2/keys/a"); w.Code != http.StatusNotFound {
			t.Errorf("when the others have left: %d", w.Code)
		}
	})
}
