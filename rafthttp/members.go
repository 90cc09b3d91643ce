package rafthttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"canopy/rafthttp/wire"
)

// RemoteMember is a member in the list of a running cluster.
type RemoteMember struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"` // empty: it has not started yet
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// membersBytesMax bounds a list of members.
const membersBytesMax = 1 << 20

// FetchMembers asks a member of a running cluster for the list of members (R5 of peer.md), before this process is a member. It
// ends with ctx, and follows redirects as client does.
func FetchMembers(ctx context.Context, client *http.Client, peerURL string) (cluster uint64, members []RemoteMember, err error) {
	cluster, members, err = fetchMembers(ctx, client, strings.TrimSuffix(peerURL, "/")+"/members")
	if err != nil {
		return 0, nil, fmt.Errorf("rafthttp: members of the cluster at %s: %w", peerURL, err)
	}
	return cluster, members, nil
}

func fetchMembers(ctx context.Context, client *http.Client, url string) (uint64, []RemoteMember, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, membersBytesMax+1))
	switch {
	case err != nil:
		return 0, nil, err
	case bytes.HasPrefix(body, []byte(textOfTLSPort)):
		return 0, nil, errTLSPort
	case answer.StatusCode != http.StatusOK:
		return 0, nil, fmt.Errorf("answered %d with %d bytes", answer.StatusCode, len(body))
	case len(body) > membersBytesMax:
		return 0, nil, fmt.Errorf("answered with more than %d bytes", membersBytesMax)
	}
	cluster, err := strconv.ParseUint(answer.Header.Get(wire.HeaderCluster), 16, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("answered without a readable %s", wire.HeaderCluster)
	}
	var members []RemoteMember
	if err := json.Unmarshal(body, &members); err != nil {
		return 0, nil, fmt.Errorf("answered with %d bytes that are not a list of members", len(body))
	}
	return cluster, members, nil
}
