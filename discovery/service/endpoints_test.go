package service

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// member is an endpoint that a test controls.
type member struct {
	url    string
	asked  atomic.Int64
	answer atomic.Int64 // a status; 0: the connection is cut
}

func newMember(t *testing.T, answer int) *member {
	t.Helper()
	m := &member{}
	m.answer.Store(int64(answer))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		m.asked.Add(1)
		if m.answer.Load() == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(int(m.answer.Load()))
	}))
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

// A request goes to the next endpoint if the first cannot serve it; a write only
// if the first certainly did not do it.
func TestEndpointsFailOver(t *testing.T) {
	const dead = -1
	for _, tt := range []struct {
		name   string
		method string
		first  int // answer of the first one; dead: nobody listens
		second int64
		status int // 0: an error
	}{
		{"nobody listens, read", "GET", dead, 1, 200},
		{"nobody listens, write", "PUT", dead, 1, 200},
		{"it is starting, read", "GET", 503, 1, 200},
		{"it is starting, write", "PUT", 503, 1, 200},
		{"no quorum, read", "GET", 500, 1, 200},
		{"no quorum, write", "PUT", 500, 0, 500},
		{"the answer is lost, read", "GET", 0, 1, 200},
		{"the answer is lost, write", "PUT", 0, 0, 0},
		{"no such key", "GET", 404, 0, 404},
		{"all is well", "PUT", 201, 0, 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			second := newMember(t, 200)
			first := "http://127.0.0.1:1"
			if tt.first != dead {
				first = newMember(t, tt.first).url
			}
			e, err := NewEndpoints([]string{first, second.url})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			request, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+storeHost+"/v2/keys/x", strings.NewReader("value=1"))
			if err != nil {
				t.Fatal(err)
			}
			response, err := e.RoundTrip(request)
			if err != nil != (tt.status == 0) || err == nil && response.StatusCode != tt.status {
				t.Errorf("%v, %v, want %d", response, err, tt.status)
			}
			if err == nil {
				response.Body.Close()
			}
			if got := second.asked.Load(); got != tt.second {
				t.Errorf("the second endpoint was asked %d times, want %d", got, tt.second)
			}
		})
	}
}

// The endpoint that served last is asked first.
func TestEndpointsStay(t *testing.T) {
	one, two := newMember(t, 503), newMember(t, 200)
	e, err := NewEndpoints([]string{one.url, two.url})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 5 {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+storeHost+"/v2/keys/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := e.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if one.asked.Load() != 1 || two.asked.Load() != 5 {
		t.Errorf("they were asked %d and %d times, want 1 and 5", one.asked.Load(), two.asked.Load())
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	for _, urls := range [][]string{nil, {""}, {"127.0.0.1:2379"}, {"ftp://h:1"}, {"http://h:1/v2"}, {"http://ok:1", "x"}} {
		if _, err := NewEndpoints(urls); err == nil {
			t.Errorf("NewEndpoints(%q) succeeds", urls)
		}
	}
}
