package discovery

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"canopy/client"
)

// Whatever a token contains is either a list of members that a cluster can have,
// or refused.
func FuzzRegistry(f *testing.F) {
	f.Add(`{"dir":true,"nodes":[{"key":"/t/1a","value":"m1=http://a:1","createdIndex":5},{"key":"/t/b","value":"m2=http://b:1","createdIndex":4}]}`)
	f.Add(`{"dir":true,"nodes":[{"key":"/t/1a","value":"m1=http://a:1"},{"key":"/t/01a","value":"m2=http://b:1"}]}`)
	f.Add(`{"dir":true,"nodes":[{"key":"","dir":true}]}`)
	f.Add(`{"value":"m1=http://a:1"}`)
	d := &directory{}
	f.Fuzz(func(t *testing.T, text string) {
		list := &client.Response{}
		if err := json.Unmarshal([]byte(text), &list.Node); err != nil || list.Node != nil && slices.Contains(list.Node.Nodes, nil) {
			return // the client refuses it
		}
		r, err := d.registry(3, list)
		if err != nil {
			return
		}
		peers, err := d.peers(r.first())
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range peers {
			if p.ID == 0 || p.Name == "" || len(p.PeerURLs) == 0 || seen[p.Name] || strings.ContainsAny(p.Name, ",=") {
				t.Errorf("%q gives the peers %v", text, peers)
			}
			seen[p.Name] = true
		}
		if len(peers) > 3 || r.complete() != (len(peers) == 3) {
			t.Errorf("%q gives %d peers of 3, complete: %v", text, len(peers), r.complete())
		}
	})
}
