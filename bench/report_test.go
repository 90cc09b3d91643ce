package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRatiosAreOfMediansToTheLastServer(t *testing.T) {
	rounds := func(values ...float64) (all []result) {
		for _, v := range values {
			all = append(all, result{Throughput: v, Extra: map[string]float64{"late_max_ms": v * 2}})
		}
		return all
	}
	all := []measurement{
		{Workload: "put", Headline: "per_second", Server: "a", Rounds: rounds(9, 30, 20)},
		{Workload: "put", Headline: "per_second", Server: "b", Rounds: rounds(10, 1, 90)},
		{Workload: "expiry", Headline: "late_max_ms", Server: "a", Rounds: rounds(1)},
		{Workload: "expiry", Headline: "late_max_ms", Server: "b", Rounds: rounds(4)},
	}
	if err := compare(all, 2); err != nil {
		t.Fatal(err)
	}
	var got []float64
	for _, m := range all {
		got = append(got, m.Median, m.Ratio)
	}
	if want := []float64{20, 2, 10, 1, 2, 0.25, 8, 1}; !slices.Equal(got, want) {
		t.Errorf("medians and ratios = %v, want %v", got, want)
	}
	all[0].Headline = "no such figure"
	if err := compare(all, 2); err == nil {
		t.Error("an unknown figure was found")
	}
}

func TestPlaceholdersOfACommandAreFilledIn(t *testing.T) {
	s, err := newServer("x=prog --dir {dir}/a --url {client} --peer {peer} {client}", "http://127.0.0.1:1", "http://127.0.0.1:2", false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.remove()
	line := strings.Join(s.command, " ")
	if s.name != "x" || strings.Contains(line, "{") || strings.Count(line, s.endpoint) != 2 || !strings.HasPrefix(line, "prog --dir "+s.dir+"/a") {
		t.Errorf("%q of server %q at %s", line, s.name, s.endpoint)
	}
	for _, bad := range []string{"", "x", "=prog", "x= "} {
		if _, err := newServer(bad, "http://127.0.0.1:1", "http://127.0.0.1:2", false); err == nil {
			t.Errorf("newServer(%q) has no error", bad)
		}
	}
}

func TestMembersOfAClusterAreFilledIn(t *testing.T) {
	c, err := newCluster("x=prog --name {name} --dir {dir} --peer {peer} --cluster {cluster}", 3, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.remove()
	for n, s := range c.members {
		line := strings.Join(s.command, " ")
		for _, want := range []string{fmt.Sprintf("--name m%d ", n+1), s.dir, "--peer " + s.peer, "m1=" + c.members[0].peer + ",m2=" + c.members[1].peer + ",m3="} {
			if !strings.Contains(line, want) {
				t.Errorf("%q lacks %q", line, want)
			}
		}
	}
}

func TestLimitsOfFlags(t *testing.T) {
	for _, bad := range []string{"--connections=0", "--connections=10001", "--value-bytes=-1", "--keys=0", "--rounds=0", "--duration=1ms", "--bogus"} {
		if _, err := parse([]string{bad}); err == nil {
			t.Errorf("parse(%s) has no error", bad)
		}
	}
	if o, err := parse([]string{"-c", "256", "-d", "1s", "-w", "put,get"}); err != nil || o.connections != 256 || len(o.workloads) != 2 {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if _, err := choose([]string{"nothing"}); err == nil {
		t.Error("an unknown workload was chosen")
	}
}

func TestFreeURLsAreDifferent(t *testing.T) {
	urls, err := freeURLs(100)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(urls)
	if n := len(slices.Compact(urls)); n != 100 {
		t.Errorf("100 URLs, of which %d are different", n)
	}
}

func TestEventsAreCountedInPieces(t *testing.T) {
	stream := "e\r\n{\"a\":{\"b\":1}}\n\r\n" + "8\r\n{\"c\":1}\n\r\n"
	for size := 1; size <= len(stream); size++ {
		var before byte
		n := 0
		for rest := []byte(stream); len(rest) > 0; {
			piece := rest[:min(size, len(rest))]
			n += lineEnds(before, piece)
			before, rest = piece[len(piece)-1], rest[len(piece):]
		}
		if n != 2 {
			t.Errorf("in pieces of %d bytes: %d events, want 2", size, n)
		}
	}
}
