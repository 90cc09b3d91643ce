package etcdserver

import (
	"slices"
	"testing"

	"canopy/etcdserver/datadir"
	"canopy/internal/disk"
)

// Peer URLs that were given count until the list of members has changed since the start; then the list counts, whatever it says.
func TestWhereAMemberIsDialled(t *testing.T) {
	f := newForcedURLs(map[string][]string{"m1": {"http://new:1"}, "b": {"http://new:3", "http://new:2"}})
	m1 := func(url string) MemberInfo { return MemberInfo{ID: 0xa, Name: "m1", PeerURLs: []string{url}} }
	for _, tt := range []struct {
		about    string
		info     MemberInfo
		restored bool
		want     []string
	}{
		{"before the log is applied", m1("http://older:1"), false, []string{"http://new:1"}},
		{"on the way", m1("http://old:1"), false, []string{"http://new:1"}},
		{"the log is applied", m1("http://old:1"), true, []string{"http://new:1"}},
		{"another one has changed", m1("http://old:1"), true, []string{"http://new:1"}},
		{"it has moved", m1("http://new:1"), true, []string{"http://new:1"}},
		{"it moves again", m1("http://newer:1"), true, []string{"http://newer:1"}},
		{"and back", m1("http://old:1"), true, []string{"http://old:1"}},
		{"by id", MemberInfo{ID: 0xb, Name: "m2", PeerURLs: []string{"http://old:2"}}, true, []string{"http://new:2", "http://new:3"}},
		{"not given", MemberInfo{ID: 0xc, Name: "m3", PeerURLs: []string{"http://old:3"}}, true, []string{"http://old:3"}},
	} {
		if got := f.dialled(tt.info, tt.restored); !slices.Equal(got, tt.want) {
			t.Errorf("%s: dialled at %v, want %v", tt.about, got, tt.want)
		}
	}
}

// What was carried out is left out at the next start; another list is not.
func TestForcedURLsAreCarriedOutOnce(t *testing.T) {
	d := datadir.Dir{FS: disk.NewMem(), Root: "d"}
	given := map[string][]string{"m1": {"http://b:1", "http://a:1"}, "m2": {"http://c:1"}}
	forced := newForcedURLs(given)
	if err := d.FS.MkdirAll(d.Member()); err != nil {
		t.Fatal(err)
	}
	left := func(given map[string][]string) int {
		o := Options{ForcePeerURLs: given}
		if err := refuseForcedAgain(d, &o, newMemberLog(quietLog(), 1, 2, nil)); err != nil {
			t.Fatal(err)
		}
		return len(o.ForcePeerURLs)
	}
	if n := left(given); n != 2 {
		t.Errorf("a first start with the list has %d members in it", n)
	}
	if err := disk.WriteFile(d.FS, readdressed(d), []byte(forced.text()+"\n")); err != nil {
		t.Fatal(err)
	}
	if n := left(map[string][]string{"m2": {"http://c:1"}, "m1": {"http://a:1", "http://b:1"}}); n != 0 {
		t.Errorf("the list is carried out again, for %d members", n)
	}
	if n := left(map[string][]string{"m2": {"http://d:1"}}); n != 1 {
		t.Errorf("another list has %d members in it", n)
	}
	for _, members := range [][]MemberInfo{nil, {{ID: 1, Name: "m1"}}} {
		if got := forced.unknown(members); len(got) != 2-len(members) {
			t.Errorf("of %v, %v are unknown", members, got)
		}
	}
}
