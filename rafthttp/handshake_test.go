package rafthttp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"canopy/raft"
)

func TestHelloIsParsed(t *testing.T) {
	life := [16]byte{1, 2, 3}
	for _, want := range []hello{
		{1, 1, 5, 6, 7, life, nil, "2.3.8", 100 * time.Millisecond, time.Second},
		{1, 9, 1<<64 - 1, 1<<64 - 1, 0, life, &life, "10.20.30", time.Millisecond, time.Hour},
	} {
		header := http.Header{}
		want.write(header)
		got, err := parseHello(header)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(hello{})); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

func TestMalformedHelloIsRefused(t *testing.T) {
	good := hello{1, 1, 5, 6, 7, [16]byte{1}, nil, "2.3.8", time.Second, time.Second}
	for _, bad := range [][2]string{
		{headerProtocol, ""}, {headerProtocol, "1"}, {headerProtocol, "2-1"}, {headerProtocol, "1-99999999999"}, {headerProtocol, "-1-1"},
		{headerTimes, "x-y"}, {headerTimes, ""}, {headerCluster, ""}, {headerCluster, "xyz"}, {headerCluster, "10000000000000000"},
		{headerFrom, "0"}, {headerFrom, ""}, {headerTo, "-1"}, {headerIncarnation, ""}, {headerIncarnation, "01"},
		{headerIncarnation, strings.Repeat("g", 32)}, {headerToIncarnation, "1"}, {headerVersion, ""}, {headerVersion, "2.3"},
		{headerVersion, "a.b.c"}, {headerVersion, "2.3.8" + strings.Repeat("0", 100)},
	} {
		header := http.Header{}
		good.write(header)
		header.Set(bad[0], bad[1])
		if h, err := parseHello(header); err == nil {
			t.Errorf("%s: %q was understood as %v", bad[0], bad[1], h)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: the error has %d bytes", bad[0], len(err.Error()))
		}
	}
}

func FuzzHandshake(f *testing.F) {
	good := http.Header{}
	h := hello{1, 1, 5, 6, 7, [16]byte{1}, &[16]byte{2}, "2.3.8", time.Second, time.Second}
	h.write(good)
	names := []string{headerProtocol, headerCluster, headerFrom, headerTo, headerIncarnation, headerToIncarnation, headerVersion, headerTimes}
	for i, name := range names {
		f.Add(i, good.Get(name))
		f.Add(i, "")
	}
	f.Fuzz(func(t *testing.T, which int, value string) {
		header := good.Clone()
		header[names[uint(which)%uint(len(names))]] = []string{value}
		h, err := parseHello(header)
		if err != nil {
			return
		}
		again := http.Header{}
		h.write(again)
		got, err := parseHello(again)
		if diff := cmp.Diff(h, got, cmp.AllowUnexported(hello{})); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func FuzzSnapshotHeader(f *testing.F) {
	f.Add("CAMQBw==")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		_, _ = parseSnapshot(http.Header{headerSnapshot: {value}})
	})
}

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
		change func(h *hello)
		status int
		want   Refusal
	}{
		{"too old", func(h *hello) { h.lowest, h.highest = 0, 0 }, 412, Refusal{Reason: TooOld, Text: "protocol versions are up to 0, here they begin at 1"}},
		{"too new", func(h *hello) { h.lowest, h.highest = 2, 3 }, 412, Refusal{Reason: TooNew, Text: "protocol versions begin at 2, here they are up to 1"}},
		{"other cluster", func(h *hello) { h.cluster = 5 }, 412, Refusal{Reason: OtherCluster, Text: "member a is of cluster 5, and b of cluster c1"}},
		{"other member", func(h *hello) { h.to = 0xc }, 412, Refusal{Reason: NotYou, Text: "this is member b, not c"}},
		{"itself", func(h *hello) { h.from = 0xb }, 404, Refusal{Reason: Unknown, Text: "member b is this one itself"}},
		{"other life of mine", func(h *hello) { h.expected = &other }, 409, Refusal{Reason: NotMyIncarnation, Text: "member b does not have the data directory that you know, 09000000"}},
		{"removed", func(h *hello) { h.from = 0xd }, 410, *n.refuse[0xd]},
		{"unknown", func(h *hello) { h.from = 0xe }, 404, *n.refuse[0xe]},
		{"other life", func(h *hello) { h.from = 0xf }, 409, *n.refuse[0xf]},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range [][2]string{{"GET", streamPath}, {"POST", snapshotPath}} {
				h := hello{1, 1, testCluster, 0xa, 0xb, [16]byte{0xa}, nil, "2.3.8", testHeartbeat, testElection}
				c.change(&h)
				request, err := http.NewRequest(path[0], n.url+path[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				h.write(request.Header)
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
				if answer.Header.Get(headerCluster) != "c1" || answer.Header.Get(headerVersion) != "2.3.8" {
					t.Errorf("%s: headers %v", path[1], answer.Header)
				}
				if told := answer.Header.Get(headerIncarnation); told != strings.Repeat("0", 32) {
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
	life := [16]byte{7}
	for name, c := range map[string]struct {
		answer hello
		known  *[16]byte
		refuse *Refusal
		want   Reason
	}{
		"other cluster": {answer: hello{cluster: 5, from: 0xb}, want: OtherCluster},
		"other member":  {answer: hello{cluster: testCluster, from: 0xc}, want: NotYou},
		"other life":    {answer: hello{cluster: testCluster, from: 0xb}, known: &life, want: OtherIncarnation},
		"not admitted":  {answer: hello{cluster: testCluster, from: 0xb}, refuse: &Refusal{Reason: Unknown}, want: Unknown},
		"the right one": {answer: hello{cluster: testCluster, from: 0xb, incarnation: life}, known: &life},
	} {
		n := newNode(t, 0xa)
		if c.refuse != nil {
			n.refuse[0xb] = c.refuse
		}
		c.answer.lowest, c.answer.highest = versionMax, versionMax
		got := n.accept(&c.answer, target{id: 0xb, incarnation: c.known})
		if c.want == 0 && got != nil || c.want != 0 && (got == nil || got.Reason != c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		c.answer.highest = versionMax + 1
		if got := n.accept(&c.answer, target{id: 0xb, incarnation: c.known}); got == nil {
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
		for name, value := range map[string]string{headerCluster: c.cluster, headerVersion: c.version, "X-Min-Cluster-Version": c.least, headerFrom: "1"} {
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
		if c.status == 412 && answer.Header.Get(headerCluster) != "c1" {
			t.Errorf("%s %s: headers %v", c.method, c.path, answer.Header)
		}
		if strings.HasPrefix(c.path, "/raft/stream") && c.status == 412 && answer.Header.Get(headerVersion) != "2.3.8" {
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
