package peerlist

import (
	"slices"
	"testing"

	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Peer URLs that were given count until the list of members has changed since the start; then the list counts, whatever it says.
func TestWhereAMemberIsDialled(t *testing.T) {
	f := NewForced(map[string][]string{"m1": {"http://new:1"}, "b": {"http://new:3", "http://new:2"}})
	m1 := func(url string) replica.MemberInfo {
		return replica.MemberInfo{ID: 0xa, Name: "m1", PeerURLs: []string{url}}
	}
	for _, tt := range []struct {
		about    string
		info     replica.MemberInfo
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
		{"by id", replica.MemberInfo{ID: 0xb, Name: "m2", PeerURLs: []string{"http://old:2"}}, true, []string{"http://new:2", "http://new:3"}},
		{"not given", replica.MemberInfo{ID: 0xc, Name: "m3", PeerURLs: []string{"http://old:3"}}, true, []string{"http://old:3"}},
	} {
		if got := f.dialled(tt.info, tt.restored); !slices.Equal(got, tt.want) {
			t.Errorf("%s: dialled at %v, want %v", tt.about, got, tt.want)
		}
	}
}

// The data directory that speaks first for a member is the only one admitted until the
// member has published itself.
func TestTheFirstContactCounts(t *testing.T) {
	c := &firstIncarnations{}
	for n, tt := range []struct {
		id          raft.MemberID
		incarnation byte
		want        bool
	}{{1, 1, true}, {1, 1, true}, {1, 2, false}, {2, 2, true}} {
		if got := c.isFirst(tt.id, [16]byte{tt.incarnation}); got != tt.want {
			t.Errorf("contact %d, of data directory %d of member %d: first = %v", n+1, tt.incarnation, tt.id, got)
		}
	}
}
