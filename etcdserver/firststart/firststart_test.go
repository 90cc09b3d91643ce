package firststart

import (
	"strings"
	"testing"

	"canopy/etcdserver/replica"
)

// The worked examples of B18, recorded from live processes.
func TestIDsAreThoseOfTheReference(t *testing.T) {
	cases := []struct {
		name    string
		members [][]string
		token   string
		ids     []string
		cluster string
	}{
		{"three members", [][]string{{"http://127.0.0.1:15180"}, {"http://127.0.0.1:15280"}, {"http://127.0.0.1:15380"}}, "tok-A",
			[]string{"33aac43f2a80bd03", "9cd287873cc50be8", "8b619152221f0265"}, "c63cea4049b09932"},
		{"the 2.x defaults", [][]string{{"http://localhost:2380", "http://localhost:7001"}}, "etcd-cluster",
			[]string{"ce2a822cea30bfca"}, "7e27652122e8b2ae"},
		{"the 3.x default", [][]string{{"http://localhost:2380"}}, "etcd-cluster",
			[]string{"8e9e05c52164694d"}, "cdf818194e3a8c32"},
		{"the order of URLs does not matter", [][]string{{"http://127.0.0.1:15181", "http://127.0.0.1:15180"}}, "etcd-cluster",
			[]string{"e9223b50a32888d3"}, ""},
		{"a discovery URL as token", [][]string{{"http://127.0.0.1:15180"}, {"http://127.0.0.1:15280"}}, "http://127.0.0.1:15890/v2/keys/discovery/tok1",
			[]string{"7a22fc6f4ccc2ff2", "4c568f870c46ce6a"}, "b640cd83c0701a7d"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var ids []replica.ID
			for i, urls := range c.members {
				id := MemberIDOf(urls, c.token)
				if id.String() != c.ids[i] {
					t.Errorf("MemberIDOf(%v, %q) = %v, want %v", urls, c.token, id, c.ids[i])
				}
				ids = append(ids, id)
			}
			if got := ClusterIDOf(ids).String(); c.cluster != "" && got != c.cluster {
				t.Errorf("ClusterIDOf(%v) = %v, want %v", ids, got, c.cluster)
			}
		})
	}
}

// Where the ids were decided elsewhere, they are taken, and the cluster's id
// follows from them (D25).
func TestIDsThatAreGiven(t *testing.T) {
	first := Bootstrap{
		Cluster: map[string][]string{"m1": {"http://127.0.0.1:15180"}, "m2": {"http://127.0.0.1:15280"}},
		Token:   "another spelling",
		IDs:     map[string]replica.ID{"m1": 0x7a22fc6f4ccc2ff2, "m2": 0x4c568f870c46ce6a},
	}
	identity, err := Identity("m2", first)
	if err != nil || len(identity.First) != 2 || identity.Member != 0x4c568f870c46ce6a || identity.Cluster.String() != "b640cd83c0701a7d" {
		t.Errorf("the identity is %v, %v", identity, err)
	}
	first.IDs["m1"] = first.IDs["m2"]
	if _, _, err := firstMembers("m2", first); err == nil || !strings.Contains(err.Error(), "identical replica.ID 4c568f870c46ce6a") {
		t.Errorf("one id twice: %v (B20)", err)
	}
	first.IDs["m2"] = 0
	if _, _, err := firstMembers("m2", first); err == nil {
		t.Error("the id 0 is taken (B20)")
	}
}
