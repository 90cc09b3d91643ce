package etcdserver

import (
	"testing"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/peerlist"
	"canopy/internal/disk"
)

// What was carried out is left out at the next start; another list is not.
func TestForcedURLsAreCarriedOutOnce(t *testing.T) {
	d := datadir.Dir{FS: disk.NewMem(), Root: "d"}
	given := map[string][]string{"m1": {"http://b:1", "http://a:1"}, "m2": {"http://c:1"}}
	forced := peerlist.NewForced(given)
	if err := d.FS.MkdirAll(d.Member()); err != nil {
		t.Fatal(err)
	}
	left := func(given map[string][]string) int {
		o := Options{ForcePeerURLs: given}
		if err := refuseForcedAgain(d, &o, memberlog.New(quietLog(), 1, 2, nil)); err != nil {
			t.Fatal(err)
		}
		return len(o.ForcePeerURLs)
	}
	if n := left(given); n != 2 {
		t.Errorf("a first start with the list has %d members in it", n)
	}
	if err := disk.WriteFile(d.FS, readdressed(d), []byte(forced.Text()+"\n")); err != nil {
		t.Fatal(err)
	}
	if n := left(map[string][]string{"m2": {"http://c:1"}, "m1": {"http://a:1", "http://b:1"}}); n != 0 {
		t.Errorf("the list is carried out again, for %d members", n)
	}
	if n := left(map[string][]string{"m2": {"http://d:1"}}); n != 1 {
		t.Errorf("another list has %d members in it", n)
	}
	for _, members := range [][]MemberInfo{nil, {{ID: 1, Name: "m1"}}} {
		if got := forced.Unknown(members); len(got) != 2-len(members) {
			t.Errorf("of %v, %v are unknown", members, got)
		}
	}
}
