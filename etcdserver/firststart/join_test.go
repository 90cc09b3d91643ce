package firststart

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canopy/etcdserver/replica"
)

// site is what one peer URL answers in a test.
type site struct {
	cluster replica.ID
	members []replica.MemberInfo
}

func fetchFrom(sites map[string]site) Fetch {
	return func(ctx context.Context, url string) (replica.ID, []replica.MemberInfo, error) {
		s, up := sites[url]
		if !up {
			return 0, nil, errors.New("connection refused")
		}
		if s.cluster == 0 { // it takes the connection, and says nothing
			<-ctx.Done()
			return 0, nil, ctx.Err()
		}
		return s.cluster, s.members, nil
	}
}

func named(id replica.ID, url, name string) replica.MemberInfo {
	m := replica.MemberInfo{ID: id, PeerURLs: []string{url}, Name: name}
	if name != "" {
		m.ClientURLs = []string{"http://client"}
	}
	return m
}

func TestJoin(t *testing.T) {
	a, b, c := named(1, "http://a:1", "a"), named(2, "http://b:1", "b"), named(3, "http://c:1", "")
	full := site{7, []replica.MemberInfo{a, b, c}}
	stale := site{7, []replica.MemberInfo{a, b}}
	cluster := map[string][]string{"a": {"http://a:1"}, "b": {"http://b:1"}, "c": {"http://c:1"}}
	for _, tt := range []struct {
		rule    string
		cluster map[string][]string
		sites   map[string]site
		want    string // what the error holds; "" for none
	}{
		{"B31", cluster, map[string]site{"http://a:1": full, "http://b:1": full}, ""},
		{"B31 a member lags", cluster, map[string]site{"http://a:1": stale, "http://b:1": full}, ""},
		{"B31 not the first URL", map[string][]string{"a": {"http://z:1", "http://a:1"}, "c": {"http://c:1"}},
			map[string]site{"http://z:1": {}, "http://a:1": {7, []replica.MemberInfo{{ID: 1, PeerURLs: []string{"http://z:1", "http://a:1"}}, c}}}, ""},
		{"B31 too few answer", cluster, map[string]site{"http://a:1": full}, "1 of 2 members answered"},
		{"R36 another was added and never started", map[string][]string{"a": {"http://a:1"}, "dead": {"http://dead:1"}, "c": {"http://c:1"}},
			map[string]site{"http://a:1": {7, []replica.MemberInfo{a, named(2, "http://dead:1", ""), c}}}, ""},
		{"B32 not added", cluster, map[string]site{"http://a:1": stale, "http://b:1": stale}, "member count is unequal: the cluster has 2 members, --initial-cluster lists 3"},
		{"B32 another URL", cluster, map[string]site{"http://a:1": {7, []replica.MemberInfo{a, b, named(3, "http://x:1", "")}}, "http://b:1": {7, []replica.MemberInfo{a, b, named(3, "http://x:1", "")}}},
			"unmatched member while checking PeerURLs: --initial-cluster does not list 3 with http://x:1"},
		{"B36", cluster, map[string]site{"http://a:1": full, "http://b:1": {7, []replica.MemberInfo{a, b, named(3, "http://c:1", "c")}}}, "member 3 has run before and its data is gone"},
		{"R41", cluster, map[string]site{"http://a:1": full, "http://b:1": {8, full.members}}, "different clusters: 7 and 8"},
		{"alone", map[string][]string{"c": {"http://c:1"}}, nil, "member count is unequal"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				same := func(x, y []string) bool { return reflect.DeepEqual(x, y) }
				joined, err := Join(t.Context(), fetchFrom(tt.sites), "c", tt.cluster, same, func(string) {})
				switch {
				case tt.want == "" && (err != nil || joined.Self != 3 || joined.Cluster != 7):
					t.Errorf("Join = %+v, %v", joined, err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("Join = %v, want %s", err, tt.want)
				}
			})
		})
	}
}

// TestAJoinThatWaitsSaysForWhom within seconds, and at its end: who answered what, and who did not, and why.
func TestAJoinThatWaitsSaysForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c, d := named(1, "http://a:1", "a"), named(3, "http://c:1", ""), named(4, "http://d:1", "d")
		cluster := map[string][]string{"a": {"http://a:1"}, "b": {"http://b:1"}, "c": {"http://c:1"}} // b was replaced by d
		sites := map[string]site{"http://a:1": {7, []replica.MemberInfo{a, d, c}}}
		start := time.Now()
		var said []string
		wait := func(why string) {
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("the first word comes after %v", took)
			}
			said = append(said, why)
		}
		_, err := Join(t.Context(), fetchFrom(sites), "c", cluster, func(x, y []string) bool { return reflect.DeepEqual(x, y) }, wait)
		if err == nil || len(said) != 1 {
			t.Fatalf("said %q, and then %v", said, err)
		}
		for _, text := range []string{said[0], err.Error()} {
			for _, want := range []string{"1 of 2 members answered, and 2 are needed", "a at http://a:1 answered, and knows other members than --initial-cluster lists",
				"--initial-cluster does not list 4 with http://d:1", "b at http://b:1 did not answer (connection refused)"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q lacks %q", text, want)
				}
			}
		}
	})
}

func TestCheckUnstarted(t *testing.T) { // B24
	b := Bootstrap{Cluster: map[string][]string{"a": {"http://a:1"}, "b": {"http://b:1"}}, Token: "t"}
	self := MemberIDOf(b.Cluster["a"], "t")
	check := func(sites map[string]site) error {
		return CheckUnstarted(t.Context(), fetchFrom(sites), "a", b)
	}
	for name, sites := range map[string]map[string]site{
		"nobody answers": nil,
		"not published":  {"http://b:1": {7, []replica.MemberInfo{named(self, "http://a:1", "")}}},
		"not known":      {"http://b:1": {7, nil}},
	} {
		if err := check(sites); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var ran *AlreadyBootstrappedError
	err := check(map[string]site{"http://b:1": {7, []replica.MemberInfo{named(self, "http://a:1", "a")}}})
	if !errors.As(err, &ran) || ran.Member != self {
		t.Errorf("a member that has published: %v", err)
	}
}
