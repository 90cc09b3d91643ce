package discovery

import (
	"net/http"
	"strings"
	"testing"
)

// Whatever an endpoint answers, it is taken for a registry that a cluster can
// have, or refused.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"action":"get","node":{"key":"/t","dir":true,"nodes":[{"key":"/t/1a","value":"m1=http://a:1","createdIndex":5}]}}`)
	f.Add(200, `{"node":null}`)
	f.Add(404, `{"errorCode":100,"message":"Key not found","cause":"/t"}`)
	f.Add(500, `<html>`)
	f.Add(200, ``)
	c := &endpointClient{}
	f.Fuzz(func(t *testing.T, status int, body string) {
		a, err := c.read(&http.Response{StatusCode: status, Header: http.Header{"X-Etcd-Index": {"7"}}}, []byte(body))
		if err != nil || a.node == nil {
			return
		}
		var list []registration
		for _, n := range a.node.Nodes {
			list = append(list, registration{key: n.Key, value: n.Value, dir: n.Dir})
		}
		peers, err := c.peers(list)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range peers {
			if p.ID == 0 || p.Name == "" || len(p.PeerURLs) == 0 || seen[p.Name] || strings.ContainsAny(p.Name, ",=") {
				t.Errorf("%q gives the peers %v", body, peers)
			}
			seen[p.Name] = true
		}
	})
}
