package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// A MemberID is the ID of a member in its cluster. Its text is hexadecimal, without leading zeros (M2).
type MemberID uint64

// String gives the text.
func (id MemberID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText is String, for JSON.
func (id MemberID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses the text; leading zeros and capitals are accepted.
func (id *MemberID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return fmt.Errorf("client: id of a member: %w", err)
	}
	*id = MemberID(n)
	return nil
}

// A Member is a member of a cluster.
type Member struct {
	ID         MemberID `json:"id"`
	Name       string   `json:"name"` // "" until it has started for the first time
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	Learner    bool     `json:"isLearner"` // it follows without a vote
}

// A Membership is the list of a cluster's members.
type Membership struct {
	ClusterID uint64   `json:"-"` // 0 if the server does not send it
	Members   []Member `json:"members"`
}

// Members gives all members, as the asked one knows them.
func (c *Client) Members(ctx context.Context) (Membership, error) {
	var all Membership
	header, err := c.do(ctx, call{method: http.MethodGet, path: "/v2/members", into: &all})
	all.ClusterID = clusterOf(header)
	return all, err
}

// Leader gives the leader. If there is none, the error contains an *Error with status 503.
func (c *Client) Leader(ctx context.Context) (Member, error) {
	var leader Member
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v2/members/leader", into: &leader})
	return leader, err
}

// AddMember adds a member with these peer URLs. Start it afterwards.
func (c *Client) AddMember(ctx context.Context, peerURLs []string) (Member, error) {
	var added Member
	what := call{method: http.MethodPost, path: "/v2/members", kind: kindJSON, body: peerURLsJSON(peerURLs), into: &added}
	_, err := c.do(ctx, what)
	return added, err
}

// UpdateMember replaces the peer URLs of a member.
func (c *Client) UpdateMember(ctx context.Context, id MemberID, peerURLs []string) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: "/v2/members/" + id.String(), kind: kindJSON, body: peerURLsJSON(peerURLs)})
	return err
}

// PromoteMember makes a member that has caught up a voter. It is needed only if members run with --auto-promote=false.
func (c *Client) PromoteMember(ctx context.Context, id MemberID) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v2/members/" + id.String() + "/promote"})
	return err
}

// RemoveMember removes a member. Its process ends by itself.
func (c *Client) RemoveMember(ctx context.Context, id MemberID) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/v2/members/" + id.String()})
	return err
}

func peerURLsJSON(urls []string) string {
	body, err := json.Marshal(map[string][]string{"peerURLs": urls})
	if err != nil {
		panic(err) // text always has a JSON form
	}
	return string(body)
}

// Sync replaces the endpoints by the client URLs of all members. Behind a proxy this bypasses it.
func (c *Client) Sync(ctx context.Context) error {
	all, err := c.Members(ctx)
	if err != nil {
		return err
	}
	var urls []string
	for _, m := range all.Members {
		urls = append(urls, m.ClientURLs...)
	}
	return c.SetEndpoints(urls)
}
