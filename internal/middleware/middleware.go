// Package middleware holds what members and proxies do with every client request, whatever its path: a Guard checks the
// Host and Origin headers, adds those of CORS and answers OPTIONS; Log tells an access log of each answer. It also has
// the answer of /version, which several ports give.
package middleware

import (
	"encoding/json"
	"fmt"
)

// VersionJSON is the answer of /version: the version that this process speaks, and the one that the cluster has agreed
// on, "" before it has (S19). Clients compare them to find out what they may use.
func VersionJSON(server, cluster string) []byte {
	if cluster == "" {
		cluster = "not_decided"
	}
	text, err := json.Marshal(struct {
		Server  string `json:"etcdserver"`
		Cluster string `json:"etcdcluster"`
	}{server, cluster})
	if err != nil {
		panic(fmt.Sprintf("two strings have no JSON: %v", err))
	}
	return text
}
