package rafthttp

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"canopy/rafthttp/wire"
)

func TestMembersAreFetched(t *testing.T) {
	const list = `[{"id":1616522855126947658,"peerURLs":["http://127.0.0.1:15480","http://127.0.0.1:15481"]},` +
		`{"id":18446744073709551615,"peerURLs":["http://127.0.0.1:15180"],"name":"m1","clientURLs":["http://127.0.0.1:15179"]}]` + "\n"
	answer := func(w http.ResponseWriter, cluster, body string) {
		w.Header().Set(wire.HeaderCluster, cluster)
		_, _ = w.Write([]byte(body))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/members":
			answer(w, "c63cea4049b09932", list)
		case "/huge/members":
			answer(w, "1", "["+strings.Repeat(" ", 2*membersBytesMax)+"]")
		case "/nocluster/members":
			answer(w, "", "[]")
		case "/badcluster/members":
			answer(w, "xyz", "[]")
		case "/garbage/members":
			answer(w, "1", "<html>")
		case "/hangs/members":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, url := range []string{server.URL, server.URL + "/"} {
		cluster, got, err := FetchMembers(context.Background(), server.Client(), url)
		want := []RemoteMember{
			{ID: 1616522855126947658, PeerURLs: []string{"http://127.0.0.1:15480", "http://127.0.0.1:15481"}},
			{ID: 1<<64 - 1, Name: "m1", PeerURLs: []string{"http://127.0.0.1:15180"}, ClientURLs: []string{"http://127.0.0.1:15179"}},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" || cluster != 0xc63cea4049b09932 {
			t.Errorf("%s: cluster %x, %v\n%s", url, cluster, err, diff)
		}
	}
	for path, want := range map[string]string{
		"/nowhere": "answered 404 with 19 bytes", "/huge": "more than 1048576 bytes", "/nocluster": wire.HeaderCluster, "/badcluster": wire.HeaderCluster,
		"/garbage": "6 bytes that are not a list of members", "/hangs": "deadline exceeded",
	} {
		patience := 10 * time.Second
		if path == "/hangs" {
			patience = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, _, err := FetchMembers(ctx, server.Client(), server.URL+path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
