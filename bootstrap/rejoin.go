package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"canopy/client"
	"canopy/etcdserver/firststart"
	"canopy/etcdserver/replica"
)

// rejoin lets a member whose data is gone join its cluster again: the old
// member is removed, and a new one, a learner, is added. It asks the other
// members to do so, over the API that operators use, with the certificate that
// it has as a peer.
func (f *Finder) rejoin(ctx context.Context, was *firststart.Joined, cluster map[string][]string) (*firststart.Joined, error) {
	f.Log.Warnf("member %v has run before and its data is gone: it is removed from the cluster, and added as a new member (--rejoin)", was.Self)
	var own replica.MemberInfo
	var clientURLs []string
	for _, m := range was.Members {
		if m.ID == was.Self {
			own = m
		} else {
			clientURLs = append(clientURLs, m.ClientURLs...)
		}
	}
	c, err := client.New(client.Config{Endpoints: clientURLs, Transport: &http.Transport{DialTLSContext: f.DialTLS}})
	if err != nil {
		return nil, fmt.Errorf("--rejoin: find another member: %w", err)
	}
	defer c.Close()
	if err := c.RemoveMember(ctx, client.MemberID(was.Self)); err != nil && !answered(err, http.StatusGone) {
		return nil, fmt.Errorf("--rejoin: remove member %v: %w", was.Self, err)
	}
	if _, err := c.AddMember(ctx, own.PeerURLs); err != nil && !answered(err, http.StatusConflict) {
		return nil, fmt.Errorf("--rejoin: add a member at %v: %w", own.PeerURLs, err)
	}
	return f.join(ctx, cluster)
}

// answered reports whether a change got this status, since it had been made before.
func answered(err error, status int) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Status == status
}
