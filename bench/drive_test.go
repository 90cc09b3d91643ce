package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serverOf is the target of a handler.
func serverOf(t *testing.T, handler http.HandlerFunc) target {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return target{endpoint: server.URL}
}

func TestEachConnectionSendsItsRequestsInTurn(t *testing.T) {
	const connections, each = 3, 5
	for _, size := range []int{0, 1, 64, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var bodies, bytes atomic.Int64
			to := serverOf(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				bodies.Add(1)
				bytes.Add(int64(len(body) - len("value=")))
				w.WriteHeader(http.StatusCreated)
				w.Write(body) // in chunks if it is large; a failure shows as a missing answer
			})
			var sent [connections]int
			took, err := drive(t.Context(), to, connections, func(connection, n int) []byte {
				if n != sent[connection] {
					t.Errorf("connection %d is asked for request %d, want %d", connection, n, sent[connection])
				}
				if n == each {
					return nil
				}
				sent[connection]++
				return to.put("/k", size, "")
			})
			if err != nil {
				t.Fatal(err)
			}
			if took.total != connections*each || took.max <= 0 {
				t.Errorf("%d answers were counted, the longest took %v; want %d", took.total, took.max, connections*each)
			}
			if bodies.Load() != connections*each || bytes.Load() != int64(connections*each*size) {
				t.Errorf("the server got %d requests with values of %d bytes", bodies.Load(), bytes.Load())
			}
		})
	}
}

func TestALoadThatFailsSaysWhy(t *testing.T) {
	for _, c := range []struct {
		what    string
		handler http.HandlerFunc
		says    string
	}{
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		{"a cut answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		to := serverOf(t, c.handler)
		_, err := drive(t.Context(), to, 2, func(int, int) []byte { return to.get("/") })
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.says)
		}
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	to := serverOf(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := drive(ctx, to, 2, func(int, int) []byte { return to.get("/") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}
