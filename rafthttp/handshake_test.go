package rafthttp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

// The cases show each reason, its status, and its text.
func TestReasonsOfTheHandshake(t *testing.T) {
	n := newNode(t, 0xb)
	n.refuse[0xd] = &Refusal{Reason: Removed, Text: "gone", Term: 3, Index: 99}
	n.refuse[0xe] = &Refusal{Reason: Unknown, Text: "not yet"}
	n.refuse[0xf] = &Refusal{Reason: OtherIncarnation, Text: "lost its data"}
	n.run()
	other := [16]byte{9}
	for _, c := range []struct {
		name   string
		change func(h *wire.Hello)
		status int
		want   Refusal
	}{
		{"too old", func(h *wire.Hello) { h.Lowest, h.Highest = 0, 0 }, 412, Refusal{Reason: TooOld, Text: "protocol versions are up to 0, here they begin at 1"}},
		{"too new", func(h *wire.Hello) { h.Lowest, h.Highest = 2, 3 }, 412, Refusal{Reason: TooNew, Text: "protocol versions begin at 2, here they are up to 1"}},
		{"other cluster", func(h *wire.Hello) { h.Cluster = 5 }, 412, Refusal{Reason: OtherCluster, Text: "member a is of cluster 5, and b of cluster c1"}},
		{"other member", func(h *wire.Hello) { h.To = 0xc }, 412, Refusal{Reason: NotYou, Text: "this is member b, not c"}},
		{"itself", func(h *wire.Hello) { h.From = 0xb }, 404, Refusal{Reason: Unknown, Text: "member b is this one itself"}},
		{"other incarnation of mine", func(h *wire.Hello) { h.Expected = &other }, 409, Refusal{Reason: NotMyIncarnation, Text: "member b does not have the data directory that you know, 09000000"}},
		{"removed", func(h *wire.Hello) { h.From = 0xd }, 410, *n.refuse[0xd]},
		{"unknown", func(h *wire.Hello) { h.From = 0xe }, 404, *n.refuse[0xe]},
		{"other incarnation", func(h *wire.Hello) { h.From = 0xf }, 409, *n.refuse[0xf]},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range [][2]string{{"GET", streamPath}, {"POST", snapshotPath}} {
				h := wire.Hello{Lowest: 1, Highest: 1, Cluster: testCluster, From: 0xa, To: 0xb, Incarnation: [16]byte{0xa}, Version: "2.3.8", Heartbeat: testHeartbeat, Election: testElection}
				c.change(&h)
				request, err := http.NewRequest(path[0], n.url+path[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				h.Write(request.Header)
				answer, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				var got Refusal
				if err == nil {
					err = json.Unmarshal(text, &got)
				}
				if diff := cmp.Diff(c.want, got); err != nil || diff != "" || answer.StatusCode != c.status {
					t.Errorf("%s: %d %s, %v\n%s", path[1], answer.StatusCode, text, err, diff)
				}
				if answer.Header.Get(wire.HeaderCluster) != "c1" || answer.Header.Get(wire.HeaderVersion) != "2.3.8" {
					t.Errorf("%s: headers %v", path[1], answer.Header)
				}
				if told := answer.Header.Get(wire.HeaderIncarnation); told != strings.Repeat("0", 32) {
					t.Errorf("%s: whom it refuses, it tells its incarnation: %s", path[1], told)
				}
			}
			said := 1
			if c.want.Reason == Unknown {
				said = 0 // not yet: it is normal at a start
			}
			if lines := strings.Count(n.logged.String(), c.want.Text); lines != said {
				t.Errorf("%d lines say so, want %d:\n%s", lines, said, n.logged)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

// A member other than the one that was dialled answers.
func TestTheDiallerChecksToo(t *testing.T) {
	incarnation := [16]byte{7}
	for name, c := range map[string]struct {
		answer wire.Hello
		known  *[16]byte
		refuse *Refusal
		want   Reason
	}{
		"other cluster":     {answer: wire.Hello{Cluster: 5, From: 0xb}, want: OtherCluster},
		"other member":      {answer: wire.Hello{Cluster: testCluster, From: 0xc}, want: NotYou},
		"other incarnation": {answer: wire.Hello{Cluster: testCluster, From: 0xb}, known: &incarnation, want: OtherIncarnation},
		"not admitted":      {answer: wire.Hello{Cluster: testCluster, From: 0xb}, refuse: &Refusal{Reason: Unknown}, want: Unknown},
		"the right one":     {answer: wire.Hello{Cluster: testCluster, From: 0xb, Incarnation: incarnation}, known: &incarnation},
	} {
		n := newNode(t, 0xa)
		if c.refuse != nil {
			n.refuse[0xb] = c.refuse
		}
		c.answer.Lowest, c.answer.Highest = wire.VersionMax, wire.VersionMax
		got := n.checkAcceptor(&c.answer, target{id: 0xb, incarnation: c.known})
		if c.want == 0 && got != nil || c.want != 0 && (got == nil || got.Reason != c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		c.answer.Highest = wire.VersionMax + 1
		if got := n.checkAcceptor(&c.answer, target{id: 0xb, incarnation: c.known}); got == nil {
			t.Errorf("%s: a version that was not offered was accepted", name)
		}
	}
}

func TestReasonsAreSent(t *testing.T) {
	for reason := range reasons {
		text, err := json.Marshal(Refusal{Reason: reason})
		var got Refusal
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		if err != nil || got.Reason != reason {
			t.Errorf("%v became %v, %v", reason, got, err)
		}
	}
	for body, want := range map[string]string{
		`{"reason":"no such"}`:      `answered "418", "{\"reason\":\"no such\"}"`,
		"404 page not found\n":      `answered "418", "404 page not found\n"`,
		strings.Repeat("x", 10_000): fmt.Sprintf("answered %q, %q", "418", strings.Repeat("x", 300)),
	} {
		if err := readRefusal("418", strings.NewReader(body)); err == nil || err.Error() != want {
			t.Errorf("%.30s: %v, want %s", body, err, want)
		}
	}
	long := Refusal{Reason: Unknown, Text: strings.Repeat("x", 3000)}
	text, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	if err := readRefusal("404", strings.NewReader(string(text))); len(err.Error()) > 600 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// The cases are those of R7, R9 and R30.
func TestMembersOfTheReferenceAreRefused(t *testing.T) {
	n := newNode(t, 0xb).run()
	for _, c := range []struct {
		method, path, cluster, version, least string
		status                                int
		body                                  string
	}{
		{"POST", "/raft", "abc", "2.3.8", "2.2.0", 412, "cluster ID mismatch\n"},
		{"POST", "/raft/snapshot", "abc", "2.3.8", "2.2.0", 412, "cluster ID mismatch\n"},
		{"GET", "/raft/stream/message/9cd287873cc50be8", "abc", "2.3.8", "2.2.0", 412, "cluster ID mismatch\n"},
		{"GET", "/raft/stream/msgapp/9cd287873cc50be8", "", "2.3.8", "2.2.0", 412, "cluster ID mismatch\n"},
		{"POST", "/raft", "c1", "2.3.8", "2.2.0", 412, "incompatible version\n"},
		{"POST", "/raft", "abc", "2.1.0", "2.0.0", 412, "incompatible version\n"},
		{"POST", "/raft", "abc", "", "", 412, "incompatible version\n"},
		{"POST", "/raft", "abc", "3.4.0", "3.0.0", 412, "incompatible version\n"},
		{"POST", "/raft", "abc", "rubbish", "2.2.0", 400, "header X-Server-Version: \"rubbish\" cannot be understood\n"},
		{"POST", "/raft", "abc", "2.3.8", "2", 400, "header X-Min-Cluster-Version: \"2\" cannot be understood\n"},
		{"GET", "/raft", "abc", "2.3.8", "2.2.0", 405, "Method Not Allowed\n"},
		{"POST", "/raft/stream/message/1", "abc", "2.3.8", "2.2.0", 405, "Method Not Allowed\n"},
		{"GET", "/raft/", "abc", "2.3.8", "2.2.0", 404, "404 page not found\n"},
		{"GET", "/canopy/peer/", "", "", "", 404, "404 page not found\n"},
	} {
		request, err := http.NewRequest(c.method, n.url+c.path, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{wire.HeaderCluster: c.cluster, wire.HeaderVersion: c.version, "X-Min-Cluster-Version": c.least, wire.HeaderFrom: "1"} {
			if value != "" {
				request.Header.Set(name, value)
			}
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, answer.StatusCode, body, c.status, c.body)
		}
		if c.status == 412 && answer.Header.Get(wire.HeaderCluster) != "c1" {
			t.Errorf("%s %s: headers %v", c.method, c.path, answer.Header)
		}
		if strings.HasPrefix(c.path, "/raft/stream") && c.status == 412 && answer.Header.Get(wire.HeaderVersion) != "2.3.8" {
			t.Errorf("%s %s: headers %v", c.method, c.path, answer.Header)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	n.logs("request cluster ID mismatch (got abc want c1)")
}

func TestNothingIsServedBeforeRun(t *testing.T) {
	n := newNode(t, 0xb)
	server := &http.Server{Handler: n.Handler()}
	served := make(chan error, 1)
	go func() { served <- server.Serve(n.listener) }()
	for _, c := range [][2]string{{"GET", streamPath}, {"POST", snapshotPath}} {
		request, err := http.NewRequest(c[0], n.url+c[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", c[1], answer.StatusCode)
		}
	}
	n.Send([]raft.Outbound{{To: 0xc, Message: raft.Stale{Term: 1}}})
	n.until("the loss", func() bool { return n.lost[0xc] == 1 })
	_ = server.Close()
	<-served
	http.DefaultClient.CloseIdleConnections()
}
